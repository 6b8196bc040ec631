"""What the command tells a person when it cannot go on.

CommandError          wrong use, or something is missing: printed without a traceback, exit status 1
└── StackError        the stack could not be started, or a part of it ended
"""

from __future__ import annotations


class CommandError(Exception):
    """`problem` says what is wrong, `remedy` what to do about it."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem}\n  {remedy}" if remedy else problem)
        self.problem = problem
        self.remedy = remedy


class StackError(CommandError):
    """The stack of processes is not as it should be."""
