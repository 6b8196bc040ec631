"""One user as the cascade knows them right now: from the running stack if there is one, otherwise from the log.

Knows where user state lives; knows nothing of what is done with it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bundles.manifest import Manifest
from cli.errors import CommandError
from cli.stack import RunningStack, started_at_ms
from cli.workspace import Workspace
from features.context import UserContexts
from features.user_state import EMPTY, UserState

_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class LookedUp:
    """A user at one moment, as a batch of one, and where that is from. `known`: anything at all is stored of the user."""

    contexts: UserContexts
    seen_S: NDArray[np.int64]
    known: bool
    origin: str

    def __str__(self) -> str:
        """What a person should be told."""
        moment = datetime.fromtimestamp(int(self.contexts.request_time_ms_B[0]) / 1000, UTC)
        about = f"user {self.contexts.user_ids[0]!r} from {self.origin} at {moment:%Y-%m-%d %H:%M:%S} UTC"
        return about if self.known else f"{about}: unknown, served as a user without history"


def look_up(workspace: Workspace, manifest: Manifest, clock: str, user_id: str) -> LookedUp:
    """The user of the stack that runs in this workspace, or of the data set that the bundle was trained on.

    `clock`: that of a stack which would start now, "wall", or "data" where time starts at the end of the log. One that runs already
    keeps the clock that it started with. Raises CommandError if the stack's store does not answer or the data set is gone,
    DatasetError if it cannot be read.
    """
    stack = RunningStack.find(workspace.run)
    if stack is None:
        now_ms = manifest.as_of_ms if clock == "data" else _wall_ms()
        return _of_log(workspace.held_dataset(manifest.dataset), user_id, now_ms)
    now_ms = _wall_ms()
    if (stack.clock or clock) == "data":  # the gateway's clock stood at the end of the log when it started
        now_ms = manifest.as_of_ms + max(0, now_ms - (started_at_ms(stack.ports.address("gateway")) or now_ms))
    return _of_stack(stack, user_id, now_ms)


def _of_stack(stack: RunningStack, user_id: str, now_ms: int) -> LookedUp:
    import valkey.asyncio
    import valkey.exceptions

    from features.user_state import UserStateStore, encode

    async def read() -> UserState:
        async with valkey.asyncio.from_url(stack.ports.valkey_url) as client:
            return await asyncio.wait_for(UserStateStore(client).read(user_id), _TIMEOUT_S)

    try:
        state = asyncio.run(read())
    except (valkey.exceptions.ValkeyError, OSError) as error:  # a TimeoutError is an OSError
        raise CommandError(
            f"user state of the running stack cannot be read: {error}", "see `explore status`"
        ) from error
    known = bool(encode(state))
    # A data clock goes on after the latest action of anybody, and when it started again is not known here.
    now_ms = max(now_ms, int(state.history_H["time_ms"].max(initial=0)) + 1)
    return LookedUp(state.context(user_id, now_ms, ""), state.seen_S, known, "the running stack")


def _of_log(data: Path, user_id: str, now_ms: int) -> LookedUp:
    import polars as pl

    from training.contexts import ContextLog
    from training.datasets import load
    from training.event_log import EventLog

    origin = f"the log of data set {data.name!r} (no stack is running)"
    everybody = load(data)
    own = pl.col("user_id") == user_id
    dataset = replace(everybody, users=everybody.users.filter(own), events=everybody.events.filter(own))
    if dataset.users.is_empty() and dataset.events.is_empty():
        return LookedUp(EMPTY.context(user_id, now_ms, ""), EMPTY.seen_S, False, origin)
    log = ContextLog(EventLog.from_dataset(dataset), dataset.users)
    contexts = log.at(np.array([0]), np.array([now_ms], dtype=np.int64), [""])
    return LookedUp(contexts, log.seen(0, now_ms), True, origin)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
