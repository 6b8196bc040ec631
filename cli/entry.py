"""Where `explore` begins: ready for Ctrl-C and `kill` before the command is imported, which takes a second."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def main() -> None:
    """The command. Exit status as `cli.main.main` says, 130 also when it is interrupted before that runs."""
    on_interrupt(_leave)
    from cli.main import main as command

    command()


def on_interrupt(handler: Callable[[int, FrameType | None], object]) -> None:
    """What Ctrl-C, `kill` and a closed terminal call from now on."""
    in_front = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN  # a job in the background is not meant by Ctrl-C
    for number in (*((signal.SIGINT,) if in_front else ()), signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


def _leave(number: int, frame: FrameType | None) -> None:
    """Ends the process, which has begun nothing: an exception could be swallowed by the import that it interrupts."""
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)
