"""A process of a benchmark that is told what to do line by line, as JSON, and answers each line with one. Knows no benchmark."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from threading import Timer
from typing import Any


class LineWorker:
    """Runs `python -m MODULE ARGUMENTS...`, which must end when its input does."""

    def __init__(
        self,
        name: str,
        module: str,
        arguments: list[str],
        grace_s: float,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`name`: for people. `grace_s`: how much longer than it should anything may take before it counts as hung.

        `environment`: on top of our own.
        """
        self._name, self._grace_s = name, grace_s
        # `env` becomes the interpreter.
        settings = [f"{variable}={value}" for variable, value in (environment or {}).items()]
        command = ["/usr/bin/env", *settings, sys.executable, "-m", module, *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, command: Any) -> None:
        """Sends a command; `answer` waits for what came of it."""
        assert self._process.stdin is not None
        print(json.dumps(command), file=self._process.stdin, flush=True)

    def answer(self, seconds: float = 0.0) -> Any:
        """To the oldest command, which should take so long. Raises RuntimeError if the process ended, or had to be ended."""
        assert self._process.stdout is not None
        within_s = seconds + self._grace_s
        watchdog = Timer(within_s, self._process.kill)
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            raise RuntimeError(f"{self._name} ended, or did not answer within {within_s:g} s")
        return json.loads(line)

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(self._grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
