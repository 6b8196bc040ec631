"""Parts of documents that are written by programs: what stands between two marks. Knows no document."""

from __future__ import annotations

from pathlib import Path


def part_of(document: Path, name: str) -> str:
    """What stands between the marks `name` now. Raises ValueError if they are not there, once each."""
    text = document.read_text("utf-8")
    begin, end = _place(text, name, document)
    return text[begin:end].strip("\n")


def write_part(document: Path, name: str, found: str) -> None:
    """Puts `found` there instead, and changes nothing else. Raises ValueError as above."""
    text = document.read_text("utf-8")
    begin, end = _place(text, name, document)
    document.write_text(f"{text[:begin]}\n{found}\n{text[end:]}", "utf-8")


def _place(text: str, name: str, document: Path) -> tuple[int, int]:
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"{document.name} must hold {begin} and below it {end}, once each")
    return text.index(begin) + len(begin), text.index(end)
