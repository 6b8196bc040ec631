"""User state in Valkey: one hash per user, read in one round trip, appended to atomically and idempotently.

Layout of the hash `explore:{user}`: `h` history (17-byte records, oldest first), `s` seen media (int64 records), `p` profile,
`rf`, `rm` and `rb` followed, muted and blocked accounts (int64 records, each account once, newest last), `c<action>` counters, and
`d` counts that decay (`features.recency`). Beside it, for a while: the sorted set `explore:{user}:events` of the ids of stored
events, `explore:{user}:request:<id>` with what a request showed, and the sorted set `explore:{user}:requests` of the ids of those.
The braces keep a user's keys in one cluster slot. Knows nothing of protobuf or of ranking.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from features import exposure_records
from features.actions import HISTORY_ACTIONS, N_ACTIONS, Action
from features.context import LONG_HISTORY_LENGTH, UNKNOWN_COUNT, UNKNOWN_TIME, UserContexts
from features.exposures import Exposure
from features.recency import NO_RECENT, USER_HALF_LIVES_MS, RecentCounts
from features.relations import MAX_ACCOUNTS, NO_ACCOUNT, Relation, no_accounts, relation_columns
from features.user_state_scripts import APPEND, FORGET, REMEMBER, REPLACE, SET_RELATIONS
from features.valkey_calls import AsyncValkey, Command

SEEN_LENGTH = 2_000  # media remembered as shown, per user: 16 kB
EVENT_MEMORY_S = 2 * 86_400  # how long an event id is remembered as stored
MAX_EVENT_IDS = 20_000  # remembered per user: the newest ones, about 2 MB
EXPOSURE_MEMORY_S = 86_400  # how long what a request showed is kept for the events that it causes
MAX_EXPOSURES = 2_000  # kept per user: the newest ones
LAYOUT = 3  # raised when the state that one log leaves becomes another, so that state loaded before is loaded again

HISTORY_RECORD = np.dtype([("media_id", "<i8"), ("action", "u1"), ("time_ms", "<i8")])
_SEEN_RECORD = np.dtype("<i8")
_ACCOUNT_RECORD = np.dtype("<i8")
_HALF_LIVES = " ".join(str(half_life) for half_life in USER_HALF_LIVES_MS)
_RELATION_FIELDS = {Relation.FOLLOWED: "rf", Relation.MUTED: "rm", Relation.BLOCKED: "rb"}

USER_KEYS = "explore:{*"  # pattern of all keys of users
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


class UserStateStore:
    """Reads the state of single users, and what they were shown; `features.event_journal` writes what they did.

    Raises what the client raises when Valkey is not reachable.
    """

    def __init__(self, client: AsyncValkey, exposure_memory_s: int = EXPOSURE_MEMORY_S) -> None:
        self._client, self._exposure_memory_s = client, exposure_memory_s

    async def read(self, user_id: str) -> UserState:
        """The state of one user, in one round trip; `EMPTY` for a user that nothing is stored of."""
        return decode(await self._client.hmget(user_key(user_id), _FIELDS))

    async def remember(self, exposure: Exposure) -> None:
        """In one round trip: later requests do not get these media again, and events of this request can be joined with it."""
        key = user_key(exposure.user_id)
        await self._client.eval(
            REMEMBER,
            3,
            key,
            f"{key}:requests",
            _exposure_prefix(key) + exposure.request_id,
            SEEN_LENGTH * _SEEN_RECORD.itemsize,
            exposure.media_id_K.astype(_SEEN_RECORD).tobytes(),
            exposure.request_id,
            exposure_records.encode(exposure),
            self._exposure_memory_s,
            MAX_EXPOSURES,
            _exposure_prefix(key),
        )

    async def exposures(self, user_id: str, request_ids: Collection[str]) -> dict[str, Exposure]:
        """What these requests showed to the user, by id, in one round trip. Those that are unknown or expired are left out."""
        wanted = sorted(set(request_ids) - {""})
        if not wanted:
            return {}
        records = await self._client.mget(exposure_keys(user_id, wanted))
        return {
            request_id: exposure_records.decode(record)
            for request_id, record in zip(wanted, records, strict=True)
            if record is not None
        }


def append_command(user_id: str, events: Sequence[StateEvent]) -> Command:
    """Stores the events that are not stored yet, in one atomic step, and returns how many were new.

    A new FOLLOW makes the author the newest of the accounts that the user follows.
    """
    key = user_key(user_id)
    caps = (
        LONG_HISTORY_LENGTH * HISTORY_RECORD.itemsize,
        SEEN_LENGTH * _SEEN_RECORD.itemsize,
        _cap(Relation.FOLLOWED),
    )
    settings = (*caps, EVENT_MEMORY_S, MAX_EVENT_IDS, N_ACTIONS, _HALF_LIVES)
    records = [
        each for event in events for each in (event.event_id, int(event.action), event.time_ms, *_records(event))
    ]
    return "EVAL", APPEND, 2, key, f"{key}:events", *settings, *records


def relation_commands(user_id: str, changes: Sequence[RelationChange]) -> list[Command]:
    """Applies the changes in their order, in one atomic step; no command for no changes.

    An account that begins a relation becomes its newest one. Kinds do not touch each other: blocking does not unfollow.
    """
    arguments: list[str | bytes | int] = []
    for relation, name in _RELATION_FIELDS.items():
        removed = _last_word([change for change in changes if change.relation is relation])
        if removed:
            gone, new = ([account for account in removed if removed[account] is ends] for ends in (True, False))
            arguments += [name, _accounts(gone), _accounts(new), _cap(relation)]
    return [("EVAL", SET_RELATIONS, 1, user_key(user_id), *arguments)] if arguments else []


def replace_command(key: str, fields: Mapping[str, bytes | int]) -> Command:
    """Puts the state that `encode` gave, or none, in the place of what is stored under the key of a user, in one atomic step.

    Accounts that the user is related to stay, behind those of `fields`: apps set them, and no log has them all. Event ids are
    forgotten, so that archived events can be counted again.
    """
    caps = [each for relation, name in _RELATION_FIELDS.items() for each in (name, _cap(relation))]
    state = [each for name, value in fields.items() for each in (name, value)]
    return "EVAL", REPLACE, 2, key, f"{key}:events", len(_RELATION_FIELDS), *caps, *state


def is_state_key(key: str) -> bool:
    """Whether a key of `USER_KEYS` is that of a user's state, and not of what lies beside it."""
    return key.endswith("}") and key.count("}") == 1


def exposure_keys(user_id: str, request_ids: Sequence[str]) -> list[str]:
    """Where the records (`features.exposure_records`) of what the requests showed are, in their order."""
    prefix = _exposure_prefix(user_key(user_id))
    return [prefix + request_id for request_id in request_ids]


def forget_command(user_id: str) -> Command:
    """Removes all that is stored of a user. Returns how many fields of the state, event ids and exposures there were."""
    key = user_key(user_id)
    return "EVAL", FORGET, 3, key, f"{key}:events", f"{key}:requests", _exposure_prefix(key)


def user_key(user_id: str) -> str:
    """Key of the user's hash. A brace in the id would end the cluster hash tag early, so braces are escaped."""
    escaped = user_id.replace("%", "%25").replace("{", "%7B").replace("}", "%7D")
    return f"explore:{{{escaped}}}"


def _exposure_prefix(key: str) -> str:
    return f"{key}:request:"


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
