"""Real processes with an environment that is wrong: exit code 2, at once, and one line that says what to do."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECRET = "hunter2-of-valkey"

WRONG = [
    ("gateway", "EXPLORE_CLIENT_KEYS", "/nowhere", "='/nowhere': /nowhere cannot be read: No such file or directory"),
    ("gateway", "EXPLORE_VALKEY_URI", f"redis://:{SECRET}@x:1", " is not known, did you mean EXPLORE_VALKEY_URL?"),
    ("rank_svc", "EXPLORE_TLS_DIRECTORY", "/no", "='/no': /no/tls.crt: No such file or directory; it must be a"),
    (
        "rank_svc",
        "EXPLORE_ONNX_THREADS",
        "-1",
        "='-1': Input should be greater than or equal to 1 (allowed: at least 1",
    ),
]


async def outcome(service: str, settings: dict[str, str]) -> tuple[int | None, str]:
    command = (sys.executable, "-m", service)
    environment = {"PATH": os.environ["PATH"], **settings}
    child = await asyncio.create_subprocess_exec(*command, env=environment, cwd=ROOT, stderr=PIPE)
    _, stderr = await child.communicate()
    return child.returncode, stderr.decode()


async def test_what_is_wrong_with_the_environment_ends_the_process() -> None:
    two_at_a_time = asyncio.Semaphore(2)

    async def check(service: str, name: str, value: str, said: str) -> None:
        async with two_at_a_time:
            code, stderr = await outcome(service, {name: value})
        assert (code, stderr[: len(name + said)], stderr.count("\n")) == (2, name + said, 1)
        assert SECRET not in stderr

    await asyncio.gather(*(check(*each) for each in WRONG))
