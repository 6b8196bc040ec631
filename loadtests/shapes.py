"""How many requests a second are due, and when. Pure arithmetic; locust asks once a second."""

from __future__ import annotations

from collections.abc import Callable

SPIKE = 3.0  # times the rate
Shape = Callable[[float], float]  # share of the duration that is over, [0, 1) -> times the rate


def steady(_: float) -> float:
    """The rate, all the time."""
    return 1.0


def ramp(over: float) -> float:
    """Up in a line to the rate, which then holds for the last fifth."""
    return min(over / 0.8, 1.0)


def spike(over: float) -> float:
    """The rate, but three times as much in the fifth before the middle: does it get back to normal?"""
    return SPIKE if 0.3 <= over < 0.5 else 1.0


def soak(over: float) -> float:
    """A short ramp, then the rate for as long as you have: does anything grow?"""
    return min(over / 0.05, 1.0)


SHAPES: dict[str, Shape] = {"steady": steady, "ramp": ramp, "spike": spike, "soak": soak}


def arrivals_per_s(shape: Shape, rate: int, duration_s: float, now_s: float) -> int | None:
    """What is due now; None when it is over. At least 1: nothing can be said about a stack that nobody asks."""
    if now_s >= duration_s:
        return None
    return max(round(rate * shape(now_s / duration_s)), 1)
