"""User state in Valkey: one hash per user, read in one round trip, appended to atomically and idempotently.

Layout of the hash `explore:{user}`: `h` history (17-byte records, oldest first), `s` seen media (int64 records), `p` profile,
`rf`, `rm` and `rb` followed, muted and blocked accounts (int64 records, each account once, newest last), `c<action>` counters, and
`d` counts that decay (`features.recency`).
The braces keep a user's keys in one cluster slot. Knows nothing of protobuf or of ranking.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from features.actions import HISTORY_ACTIONS, N_ACTIONS, Action
from features.context import LONG_HISTORY_LENGTH, UNKNOWN_COUNT, UNKNOWN_TIME, UserContexts
from features.recency import NO_RECENT, USER_HALF_LIVES_MS, RecentCounts
from features.relations import MAX_ACCOUNTS, NO_ACCOUNT, Relation, no_accounts, relation_columns

SEEN_LENGTH = 2_000  # media remembered as shown, per user: 16 kB
EVENT_MEMORY_S = 2 * 86_400  # how long an event id is remembered as stored
LAYOUT = 3  # raised when the state that one log leaves becomes another, so that state loaded before is loaded again

HISTORY_RECORD = np.dtype([("media_id", "<i8"), ("action", "u1"), ("time_ms", "<i8")])
_SEEN_RECORD = np.dtype("<i8")
_ACCOUNT_RECORD = np.dtype("<i8")
_HALF_LIVES = " ".join(str(half_life) for half_life in USER_HALF_LIVES_MS)
_RELATION_FIELDS = {Relation.FOLLOWED: "rf", Relation.MUTED: "rm", Relation.BLOCKED: "rb"}

# Takes the account records in `gone` out of a field and puts those in `new` behind what is left, where the last of equal ones
# stands. One pass over the field, however many accounts change, since Valkey serves nobody else meanwhile.
_RELATE = """
local function relate(field, gone, new, cap)
  local out, last, kept = {}, {}, {}
  for at = 1, #gone, 8 do out[string.sub(gone, at, at + 7)] = true end
  for at = 1, #new, 8 do
    local record = string.sub(new, at, at + 7)
    out[record], last[record] = true, at
  end
  local old = redis.call('HGET', KEYS[1], field) or ''
  for at = 1, #old, 8 do
    local record = string.sub(old, at, at + 7)
    if not out[record] then kept[#kept + 1] = record end
  end
  for at = 1, #new, 8 do
    local record = string.sub(new, at, at + 7)
    if last[record] == at then kept[#kept + 1] = record end
  end
  if #kept == 0 then
    redis.call('HDEL', KEYS[1], field)
  else
    redis.call('HSET', KEYS[1], field, string.sub(table.concat(kept), -cap))
  end
end
"""

# Adds one event to the counts that decay: they stand as of the latest event, so an earlier one counts what is left of it by then.
_DECAY = """
local half_lives, actions = {}, tonumber(ARGV[5])
for half_life in string.gmatch(ARGV[6], '%d+') do half_lives[#half_lives + 1] = tonumber(half_life) end
local function read_counts()
  local record, counts = redis.call('HGET', KEYS[1], 'd'), {}
  for i = 1, 1 + #half_lives * actions do counts[i] = record and struct.unpack('<d', record, 8 * i - 7) or 0 end
  return counts
end
local function count(counts, action, time)
  for window, half_life in ipairs(half_lives) do
    local first, added = 1 + (window - 1) * actions, 1
    if time > counts[1] then
      local left = 2 ^ ((counts[1] - time) / half_life)
      for i = first + 1, first + actions do counts[i] = counts[i] * left end
    else
      added = 2 ^ ((time - counts[1]) / half_life)
    end
    counts[first + 1 + action] = counts[first + 1 + action] + added
  end
  if time > counts[1] then counts[1] = time end
end
local function write_counts(counts)
  for i, value in ipairs(counts) do counts[i] = struct.pack('<d', value) end
  redis.call('HSET', KEYS[1], 'd', table.concat(counts))
end
"""

# KEYS: user hash, then one marker per event. ARGV: byte caps of history, seen media and followed accounts, the marker's time to
# live, the number of action codes, the half-lives; then per event: its action code and time, its history record, its seen record,
# the account it follows (each record may be empty). Returns how many events were new.
_APPEND = (
    _RELATE
    + _DECAY
    + """
local function append(field, record, cap)
  if record ~= '' then
    local blob = (redis.call('HGET', KEYS[1], field) or '') .. record
    redis.call('HSET', KEYS[1], field, string.sub(blob, -cap))
  end
end
local stored, followed, counts = 0, {}, read_counts()
for i = 2, #KEYS do
  if redis.call('SET', KEYS[i], '1', 'NX', 'EX', ARGV[4]) then
    local base = 7 + (i - 2) * 5
    redis.call('HINCRBY', KEYS[1], 'c' .. ARGV[base], 1)
    count(counts, tonumber(ARGV[base]), tonumber(ARGV[base + 1]))
    append('h', ARGV[base + 2], tonumber(ARGV[1]))
    append('s', ARGV[base + 3], tonumber(ARGV[2]))
    followed[stored + 1] = ARGV[base + 4]
    stored = stored + 1
  end
end
if stored > 0 then write_counts(counts) end
local accounts = table.concat(followed)
if accounts ~= '' then relate('rf', '', accounts, tonumber(ARGV[3])) end
return stored
"""
)

# KEYS: user hash. ARGV: per field that changes: its name, the records to take out, the records to put in, its byte cap.
_SET_RELATIONS = (
    _RELATE
    + """
for i = 1, #ARGV, 4 do relate(ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3])) end
return 1
"""
)

_MARK_SEEN = """
local blob = (redis.call('HGET', KEYS[1], 's') or '') .. ARGV[2]
redis.call('HSET', KEYS[1], 's', string.sub(blob, -tonumber(ARGV[1])))
return 1
"""

_FIELDS = ["h", "s", "p", "d", *_RELATION_FIELDS.values(), *(f"c{action}" for action in range(1, N_ACTIONS))]


@dataclass(frozen=True)
class Profile:
    """What the users table says about one user."""

    registered_at_ms: int = UNKNOWN_TIME
    n_following: int = UNKNOWN_COUNT
    n_followers: int = UNKNOWN_COUNT
    segment: str = ""
    account_id: int = NO_ACCOUNT  # under which the user posts


@dataclass(frozen=True)
class UserState:
    """Everything stored about one user. `history_H` has dtype HISTORY_RECORD, in order of arrival.

    `relations` has an entry for every kind: each account once, the newest last.
    """

    profile: Profile
    history_H: NDArray[np.void]
    counts_A: NDArray[np.uint32]
    seen_S: NDArray[np.int64]
    relations: Mapping[Relation, NDArray[np.int64]] = field(default_factory=no_accounts)
    recent: RecentCounts = NO_RECENT

    def context(self, user_id: str, request_time_ms: int, surface: str) -> UserContexts:
        """This user at the moment of a request, as a batch of one: history in time order, events of the future left out."""
        past_H = self.history_H[self.history_H["time_ms"] < request_time_ms]
        past_H = past_H[np.argsort(past_H["time_ms"], kind="stable")][-LONG_HISTORY_LENGTH:]
        return UserContexts(
            user_ids=(user_id,),
            request_time_ms_B=np.array([request_time_ms], dtype=np.int64),
            surfaces=(surface,),
            history_offsets=np.array([0, len(past_H)], dtype=np.int64),
            history_media_id_H=past_H["media_id"].astype(np.int64),
            history_action_H=past_H["action"].astype(np.uint8),
            history_time_ms_H=past_H["time_ms"].astype(np.int64),
            action_counts_BA=self.counts_A[None, :],
            recent_counts_BWA=self.recent.at(request_time_ms)[None],
            registered_at_ms_B=np.array([self.profile.registered_at_ms], dtype=np.int64),
            n_following_B=np.array([self.profile.n_following], dtype=np.int64),
            n_followers_B=np.array([self.profile.n_followers], dtype=np.int64),
            segments=(self.profile.segment,),
            account_id_B=np.array([self.profile.account_id], dtype=np.int64),
            **relation_columns([self.relations]),
        )


EMPTY = UserState(
    Profile(), np.empty(0, HISTORY_RECORD), np.zeros(N_ACTIONS, dtype=np.uint32), np.empty(0, dtype=np.int64)
)


@dataclass(frozen=True)
class StateEvent:
    """The part of a feedback event that changes user state."""

    event_id: str
    media_id: int
    author_id: int
    action: Action
    time_ms: int


@dataclass(frozen=True)
class RelationChange:
    """A relation of a user to an account that begins, or ends."""

    account_id: int
    relation: Relation
    removed: bool = False


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
        """Stores the events of one user that are not stored yet, all in one atomic step. Returns how many were new.

        A new FOLLOW makes the author the newest of the accounts that the user follows.
        """
        markers = [f"{user_key(user_id)}:event:{event.event_id}" for event in events]
        records = [record for event in events for record in (int(event.action), event.time_ms, *_records(event))]
        caps = (
            LONG_HISTORY_LENGTH * HISTORY_RECORD.itemsize,
            SEEN_LENGTH * _SEEN_RECORD.itemsize,
            _cap(Relation.FOLLOWED),
        )
        settings = (*caps, EVENT_MEMORY_S, N_ACTIONS, _HALF_LIVES)
        return int(await self._client.eval(_APPEND, 1 + len(markers), user_key(user_id), *markers, *settings, *records))

    async def set_relations(self, user_id: str, changes: Sequence[RelationChange]) -> None:
        """Applies the changes of one user in their order, all in one atomic step. Applying them again changes nothing.

        An account that begins a relation becomes its newest one. Kinds do not touch each other: blocking does not unfollow.
        """
        arguments: list[str | bytes | int] = []
        for relation, name in _RELATION_FIELDS.items():
            removed = _last_word([change for change in changes if change.relation is relation])
            if removed:
                gone, new = ([account for account in removed if removed[account] is ends] for ends in (True, False))
                arguments += [name, _accounts(gone), _accounts(new), _cap(relation)]
        if arguments:
            await self._client.eval(_SET_RELATIONS, 1, user_key(user_id), *arguments)

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
    history_H, seen_S = state.history_H[-LONG_HISTORY_LENGTH:], state.seen_S[-SEEN_LENGTH:]
    if len(history_H):
        fields["h"] = history_H.astype(HISTORY_RECORD).tobytes()
    if len(seen_S):
        fields["s"] = seen_S.astype(_SEEN_RECORD).tobytes()
    if state.profile != Profile():
        p = state.profile
        fields["p"] = json.dumps([p.registered_at_ms, p.n_following, p.n_followers, p.segment, p.account_id]).encode()
    if state.recent.sums_WA.any():
        fields["d"] = state.recent.encoded()
    for relation, name in _RELATION_FIELDS.items():
        if len(newest := state.relations[relation][-MAX_ACCOUNTS[relation] :]):
            fields[name] = newest.astype(_ACCOUNT_RECORD).tobytes()
    return fields


def decode(values: Iterable[bytes | None]) -> UserState:
    """The state from the values of the hash fields, in the order in which `UserStateStore.read` asks for them."""
    history, seen, profile, recent, followed, muted, blocked, *counters = values
    related = zip(_RELATION_FIELDS, (followed, muted, blocked), strict=True)
    counts_A = np.zeros(N_ACTIONS, dtype=np.uint32)
    counts_A[1:] = [int(counter or 0) for counter in counters]
    return UserState(
        profile=Profile(*json.loads(profile)) if profile else Profile(),
        history_H=np.frombuffer(history or b"", dtype=HISTORY_RECORD),
        counts_A=counts_A,
        seen_S=np.frombuffer(seen or b"", dtype=_SEEN_RECORD),
        relations={kind: np.frombuffer(accounts or b"", dtype=_ACCOUNT_RECORD) for kind, accounts in related},
        recent=RecentCounts.decoded(recent) if recent else NO_RECENT,
    )


def _last_word(changes: Sequence[RelationChange]) -> dict[int, bool]:
    """Whether each account is removed in the end, in the order of the last changes."""
    removed: dict[int, bool] = {}
    for change in changes:
        removed.pop(change.account_id, None)  # a dict keeps the place of the first entry otherwise
        removed[change.account_id] = change.removed
    return removed


def _cap(relation: Relation) -> int:
    return MAX_ACCOUNTS[relation] * _ACCOUNT_RECORD.itemsize


def _accounts(account_ids: Sequence[int]) -> bytes:
    return np.array(account_ids, dtype=_ACCOUNT_RECORD).tobytes()


def _records(event: StateEvent) -> tuple[bytes, bytes, bytes]:
    history = seen = followed = b""
    if event.action in HISTORY_ACTIONS:
        history = np.array([(event.media_id, event.action, event.time_ms)], dtype=HISTORY_RECORD).tobytes()
    if event.action is Action.IMPRESSION:
        seen = np.array([event.media_id], dtype=_SEEN_RECORD).tobytes()
    if event.action is Action.FOLLOW:
        followed = _accounts([event.author_id])
    return history, seen, followed
