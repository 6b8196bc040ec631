"""From hashes to chances. Pure functions: the same bytes give the same number, on every machine and in every release."""

from __future__ import annotations

_BITS = 53  # of a double's fraction: more would round up to 1


def unit(digest: bytes) -> float:
    """A number in [0, 1) out of the first 8 bytes of a digest."""
    return fraction(int.from_bytes(digest[:8], "little"))


def fraction(word: int) -> float:
    """A number in [0, 1) out of 64 bits."""
    return (word >> 64 - _BITS) * 2.0**-_BITS


def mixed(word: int) -> int:
    """Scrambles 64 bits: finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    word = (word ^ word >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return word ^ word >> 31
