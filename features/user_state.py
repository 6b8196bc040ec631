"""User state in Valkey: one hash per user, read in one round trip, appended to atomically and idempotently.

Layout of the hash `explore:{user}`: `h` history (17-byte records, oldest first), `s` seen media (int64 records), `p` profile, and
`c<action>` counters. The braces keep a user's keys in one cluster slot. Knows nothing of protobuf or of ranking.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from features.actions import HISTORY_ACTIONS, N_ACTIONS, Action
from features.context import HISTORY_LENGTH, UNKNOWN_COUNT, UNKNOWN_TIME, UserContexts

SEEN_LENGTH = 2_000  # media remembered as shown, per user: 16 kB
EVENT_MEMORY_S = 2 * 86_400  # how long an event id is remembered as stored

HISTORY_RECORD = np.dtype([("media_id", "<i8"), ("action", "u1"), ("time_ms", "<i8")])
_SEEN_RECORD = np.dtype("<i8")

# KEYS: user hash, then one marker per event. ARGV: three byte caps and the marker's time to live, then per event: its action code,
# its history record, its seen record (either may be empty). Returns how many events were new.
_APPEND = """
local function append(field, record, cap)
  if record ~= '' then
    local blob = (redis.call('HGET', KEYS[1], field) or '') .. record
    redis.call('HSET', KEYS[1], field, string.sub(blob, -cap))
  end
end
local stored = 0
for i = 2, #KEYS do
  if redis.call('SET', KEYS[i], '1', 'NX', 'EX', ARGV[3]) then
    local base = 4 + (i - 2) * 3
    redis.call('HINCRBY', KEYS[1], 'c' .. ARGV[base], 1)
    append('h', ARGV[base + 1], tonumber(ARGV[1]))
    append('s', ARGV[base + 2], tonumber(ARGV[2]))
    stored = stored + 1
  end
end
return stored
"""

_MARK_SEEN = """
local blob = (redis.call('HGET', KEYS[1], 's') or '') .. ARGV[2]
redis.call('HSET', KEYS[1], 's', string.sub(blob, -tonumber(ARGV[1])))
return 1
"""

_FIELDS = ["h", "s", "p", *(f"c{action}" for action in range(1, N_ACTIONS))]


@dataclass(frozen=True)
class Profile:
    """What the users table says about one user."""

    registered_at_ms: int = UNKNOWN_TIME
    n_following: int = UNKNOWN_COUNT
    n_followers: int = UNKNOWN_COUNT
    segment: str = ""


@dataclass(frozen=True)
class UserState:
    """Everything stored about one user. `history_H` has dtype HISTORY_RECORD, in order of arrival."""

    profile: Profile
    history_H: NDArray[np.void]
    counts_A: NDArray[np.uint32]
    seen_S: NDArray[np.int64]

    def context(self, user_id: str, request_time_ms: int, surface: str) -> UserContexts:
        """This user at the moment of a request, as a batch of one: history in time order, events of the future left out."""
        past_H = self.history_H[self.history_H["time_ms"] < request_time_ms]
        past_H = past_H[np.argsort(past_H["time_ms"], kind="stable")][-HISTORY_LENGTH:]
        return UserContexts(
            user_ids=(user_id,),
            request_time_ms_B=np.array([request_time_ms], dtype=np.int64),
            surfaces=(surface,),
            history_offsets=np.array([0, len(past_H)], dtype=np.int64),
            history_media_id_H=past_H["media_id"].astype(np.int64),
            history_action_H=past_H["action"].astype(np.uint8),
            history_time_ms_H=past_H["time_ms"].astype(np.int64),
            action_counts_BA=self.counts_A[None, :],
            registered_at_ms_B=np.array([self.profile.registered_at_ms], dtype=np.int64),
            n_following_B=np.array([self.profile.n_following], dtype=np.int64),
            n_followers_B=np.array([self.profile.n_followers], dtype=np.int64),
            segments=(self.profile.segment,),
        )


EMPTY = UserState(
    Profile(), np.empty(0, HISTORY_RECORD), np.zeros(N_ACTIONS, dtype=np.uint32), np.empty(0, dtype=np.int64)
)


@dataclass(frozen=True)
class StateEvent:
    """The part of a feedback event that changes user state."""

    event_id: str
    media_id: int
    action: Action
    time_ms: int


class AsyncValkey(Protocol):
    """The calls of `valkey.asyncio.Valkey` and `ValkeyCluster` that the store needs. What they return is awaited."""

    def hmget(self, name: str, keys: list[Any]) -> Any: ...

    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any: ...


class UserStateStore:
    """Reads and appends the state of single users. Raises what the client raises when Valkey is not reachable."""

    def __init__(self, client: AsyncValkey) -> None:
        self._client = client

    async def read(self, user_id: str) -> UserState:
        """The state of one user, in one round trip; `EMPTY` for a user that nothing is stored of."""
        return decode(await self._client.hmget(user_key(user_id), _FIELDS))

    async def append(self, user_id: str, events: Sequence[StateEvent]) -> int:
        """Stores the events of one user that are not stored yet, all in one atomic step. Returns how many were new."""
        markers = [f"{user_key(user_id)}:event:{event.event_id}" for event in events]
        records = [field for event in events for field in (int(event.action), *_records(event))]
        caps = (HISTORY_LENGTH * HISTORY_RECORD.itemsize, SEEN_LENGTH * _SEEN_RECORD.itemsize, EVENT_MEMORY_S)
        return int(await self._client.eval(_APPEND, 1 + len(markers), user_key(user_id), *markers, *caps, *records))

    async def mark_seen(self, user_id: str, media_id_N: NDArray[np.int64]) -> None:
        """Remembers media as shown, so that later requests do not get them again."""
        cap = SEEN_LENGTH * _SEEN_RECORD.itemsize
        await self._client.eval(_MARK_SEEN, 1, user_key(user_id), cap, media_id_N.astype(_SEEN_RECORD).tobytes())


def user_key(user_id: str) -> str:
    """Key of the user's hash. A brace in the id would end the cluster hash tag early, so braces are escaped."""
    escaped = user_id.replace("%", "%25").replace("{", "%7B").replace("}", "%7D")
    return f"explore:{{{escaped}}}"


def encode(state: UserState) -> dict[str, bytes | int]:
    """The hash fields that `decode` turns back into `state`; for bulk loading. Fields that hold nothing are left out."""
    fields: dict[str, bytes | int] = {f"c{a}": int(n) for a, n in enumerate(state.counts_A) if n}
    history_H, seen_S = state.history_H[-HISTORY_LENGTH:], state.seen_S[-SEEN_LENGTH:]
    if len(history_H):
        fields["h"] = history_H.astype(HISTORY_RECORD).tobytes()
    if len(seen_S):
        fields["s"] = seen_S.astype(_SEEN_RECORD).tobytes()
    if state.profile != Profile():
        p = state.profile
        fields["p"] = json.dumps([p.registered_at_ms, p.n_following, p.n_followers, p.segment]).encode()
    return fields


def decode(values: Iterable[bytes | None]) -> UserState:
    """The state from the values of the hash fields, in the order in which `UserStateStore.read` asks for them."""
    history, seen, profile, *counters = values
    counts_A = np.zeros(N_ACTIONS, dtype=np.uint32)
    counts_A[1:] = [int(counter or 0) for counter in counters]
    return UserState(
        profile=Profile(*json.loads(profile)) if profile else Profile(),
        history_H=np.frombuffer(history or b"", dtype=HISTORY_RECORD),
        counts_A=counts_A,
        seen_S=np.frombuffer(seen or b"", dtype=_SEEN_RECORD),
    )


def _records(event: StateEvent) -> tuple[bytes, bytes]:
    history = seen = b""
    if event.action in HISTORY_ACTIONS:
        history = np.array([(event.media_id, event.action, event.time_ms)], dtype=HISTORY_RECORD).tobytes()
    if event.action is Action.IMPRESSION:
        seen = np.array([event.media_id], dtype=_SEEN_RECORD).tobytes()
    return history, seen
