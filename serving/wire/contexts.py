"""UserContext messages <-> `features.context.UserContexts`. Shapes: B users, H history rows, R relations, S seen media."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from features.actions import HISTORY_ACTIONS, N_ACTIONS
from features.context import LONG_HISTORY_LENGTH, UNKNOWN_COUNT, UNKNOWN_TIME, UserContexts
from features.recency import N_WINDOWS
from features.relations import NO_ACCOUNT, Relation
from protos.explore.v1.user_context_pb2 import UserContext
from serving.errors import InvalidArgument
from serving.wire.columns import FLOAT32, INT64, UINT8, Int64, column, count_rows, highest, lowest, to_bytes

MAX_USER_ID = 256  # characters, as in feed.proto

_IS_HISTORY_ACTION = np.zeros(256, dtype=np.bool_)
_IS_HISTORY_ACTION[list(HISTORY_ACTIONS)] = True
_IS_RELATION = np.zeros(256, dtype=np.bool_)
_IS_RELATION[list(Relation)] = True
_RELATIONS = ", ".join(f"{int(relation)} = {relation.name}" for relation in Relation)


@dataclass(frozen=True)
class SeenMedia:
    """What each of B users has been shown: the rows `offsets[b] : offsets[b + 1]`."""

    offsets: Int64  # B + 1
    media_id_S: Int64


def decode_contexts(users: Sequence[UserContext]) -> UserContexts:
    """The users as columns. A history longer than LONG_HISTORY_LENGTH is cut to its newest rows; only those are checked."""
    if not users:
        raise InvalidArgument("users", "is empty, expected at least one")
    for b, user in enumerate(users):
        _check_scalars(user, f"users[{b}]")
    history_offsets, media_id_H, action_H, time_ms_H = _decode_histories(users)
    relation_offsets, account_id_R, kind_R = _decode_relations(users)
    return UserContexts(
        user_ids=tuple(user.user_id for user in users),
        request_time_ms_B=np.array([user.request_time_ms for user in users], np.int64),
        surfaces=tuple(user.surface for user in users),
        history_offsets=history_offsets,
        history_media_id_H=media_id_H,
        history_action_H=action_H,
        history_time_ms_H=time_ms_H,
        action_counts_BA=_decode_counts(users),
        recent_counts_BWA=_decode_recent(users),
        registered_at_ms_B=_optional_B(users, "registered_at_ms", UNKNOWN_TIME),
        n_following_B=_optional_B(users, "n_following", UNKNOWN_COUNT),
        n_followers_B=_optional_B(users, "n_followers", UNKNOWN_COUNT),
        segments=tuple(user.segment for user in users),
        account_id_B=np.array([user.account_id for user in users], np.int64),
        relation_offsets=relation_offsets,
        relation_account_id_R=account_id_R,
        relation_kind_R=kind_R,
    )


def encode_contexts(contexts: UserContexts, seen: SeenMedia | None = None) -> list[UserContext]:
    """One message per user. `seen` is for retrieval only, and the relations, which nobody else reads, go where it goes."""
    messages = []
    for b in range(len(contexts)):
        rows = slice(int(contexts.history_offsets[b]), int(contexts.history_offsets[b + 1]))
        relations = slice(0, 0) if seen is None else slice(*contexts.relation_offsets[b : b + 2].tolist())
        messages.append(
            UserContext(
                user_id=contexts.user_ids[b],
                request_time_ms=int(contexts.request_time_ms_B[b]),
                surface=contexts.surfaces[b],
                history_media_id=to_bytes(contexts.history_media_id_H[rows], INT64),
                history_action=to_bytes(contexts.history_action_H[rows], UINT8),
                history_time_ms=to_bytes(contexts.history_time_ms_H[rows], INT64),
                action_counts=contexts.action_counts_BA[b].tolist(),
                recent_counts=to_bytes(contexts.recent_counts_BWA[b].ravel(), FLOAT32),
                registered_at_ms=_known(contexts.registered_at_ms_B[b], UNKNOWN_TIME),
                n_following=_known(contexts.n_following_B[b], UNKNOWN_COUNT),
                n_followers=_known(contexts.n_followers_B[b], UNKNOWN_COUNT),
                segment=contexts.segments[b],
                seen_media_id=b"" if seen is None else _seen_of(seen, b),
                account_id=int(contexts.account_id_B[b]),
                relation_account_id=to_bytes(contexts.relation_account_id_R[relations], INT64),
                relation_kind=to_bytes(contexts.relation_kind_R[relations], UINT8),
            )
        )
    return messages


def decode_seen(users: Sequence[UserContext]) -> SeenMedia:
    """The seen media of B users."""
    columns = [user.seen_media_id for user in users]
    rows_B = [count_rows(data, INT64, f"users[{b}].seen_media_id") for b, data in enumerate(columns)]
    return SeenMedia(_offsets(rows_B), np.frombuffer(b"".join(columns), INT64))


def _seen_of(seen: SeenMedia, b: int) -> bytes:
    return to_bytes(seen.media_id_S[seen.offsets[b] : seen.offsets[b + 1]], INT64)


def _known(value: np.int64, unknown: int) -> int | None:
    return None if value == unknown else int(value)


def _check_scalars(user: UserContext, path: str) -> None:
    if not 1 <= len(user.user_id) <= MAX_USER_ID:
        raise InvalidArgument(f"{path}.user_id", f"has {len(user.user_id)} characters, expected 1 to {MAX_USER_ID}")
    if user.request_time_ms <= 0:
        raise InvalidArgument(
            f"{path}.request_time_ms", f"is {user.request_time_ms}, must be > 0: stages have no clock"
        )
    if user.registered_at_ms < 0 or user.n_following < 0 or user.n_followers < 0:
        name = next(n for n in ("registered_at_ms", "n_following", "n_followers") if getattr(user, n) < 0)
        raise InvalidArgument(f"{path}.{name}", f"is {getattr(user, name)}, must not be negative; unset if unknown")
    if user.account_id < 0:
        raise InvalidArgument(
            f"{path}.account_id", f"is {user.account_id}, must not be negative; {NO_ACCOUNT} if there is none"
        )
    if len(user.action_counts) > N_ACTIONS:
        raise InvalidArgument(f"{path}.action_counts", f"has {len(user.action_counts)} entries, at most {N_ACTIONS}")


def _decode_histories(users: Sequence[UserContext]) -> tuple[Int64, Int64, NDArray[np.uint8], Int64]:
    """Joins the columns of all users first, so that checking costs the same for one user as for sixty."""
    media, actions, times, kept_B = [], [], [], []
    for b, user in enumerate(users):
        media_id = user.history_media_id
        rows = count_rows(media_id, INT64, f"users[{b}].history_media_id")
        column(user.history_action, UINT8, rows, f"users[{b}].history_action")
        column(user.history_time_ms, INT64, rows, f"users[{b}].history_time_ms")
        first = max(rows - LONG_HISTORY_LENGTH, 0)
        media.append(media_id[first * INT64.itemsize :])
        actions.append(user.history_action[first:])
        times.append(user.history_time_ms[first * INT64.itemsize :])
        kept_B.append(rows - first)
    offsets = _offsets(kept_B)
    media_id_H = np.frombuffer(b"".join(media), INT64)
    action_H = np.frombuffer(b"".join(actions), UINT8)
    time_ms_H = np.frombuffer(b"".join(times), INT64)
    _check_history(offsets, media_id_H, action_H, time_ms_H)
    return offsets, media_id_H, action_H, time_ms_H


def _check_history(offsets: Int64, media_id_H: Int64, action_H: NDArray[np.uint8], time_ms_H: Int64) -> None:
    if not len(media_id_H) or _is_good_history(offsets, media_id_H, action_H, time_ms_H):
        return
    in_order_H = np.ones(len(time_ms_H), np.bool_)
    in_order_H[1:] = time_ms_H[1:] >= time_ms_H[:-1]
    in_order_H[offsets[:-1][np.diff(offsets) > 0]] = True  # the first action of a user follows nothing
    checks = (
        ("history_media_id", media_id_H, media_id_H > 0, "must be > 0"),
        ("history_action", action_H, _IS_HISTORY_ACTION[action_H], "must be an action of the history"),
        ("history_time_ms", time_ms_H, time_ms_H >= 0, "must not be negative"),
        ("history_time_ms", time_ms_H, in_order_H, "must not lie before the row above: oldest first"),
    )
    for name, values_H, good_H, rule in checks:
        _check_values(name, values_H, good_H, offsets, rule)


def _is_good_history(offsets: Int64, media_id_H: Int64, action_H: NDArray[np.uint8], time_ms_H: Int64) -> bool:
    """All rules of `_check_history` at once; which of them a column breaks, and where, is worth looking for only then."""
    if lowest(media_id_H) <= 0 or lowest(time_ms_H) < 0 or not np.logical_and.reduce(_IS_HISTORY_ACTION[action_H]):
        return False
    falls = (time_ms_H[1:] < time_ms_H[:-1]).nonzero()[0] + 1
    return not len(falls) or bool(np.isin(falls, offsets).all())  # time may fall from one user to the next


def _check_values(
    name: str, values_X: NDArray[np.integer], good_X: NDArray[np.bool_], offsets: Int64, rule: str
) -> None:
    """Names the user of the first value of a ragged column that is not good."""
    if not good_X.all():
        row = int(np.argmin(good_X))
        b = int(np.searchsorted(offsets, row, side="right")) - 1
        raise InvalidArgument(f"users[{b}].{name}", f"holds {values_X[row]}, {rule}")


def _decode_relations(users: Sequence[UserContext]) -> tuple[Int64, Int64, NDArray[np.uint8]]:
    """Offsets, accounts and kinds; joined before they are checked, as histories are."""
    rows_B = [
        count_rows(user.relation_account_id, INT64, f"users[{b}].relation_account_id") for b, user in enumerate(users)
    ]
    for b, user in enumerate(users):
        column(user.relation_kind, UINT8, rows_B[b], f"users[{b}].relation_kind")
    if not any(rows_B):  # as in what a ranking stage gets
        return np.zeros(len(users) + 1, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8)
    offsets = _offsets(rows_B)
    account_id_R = np.frombuffer(b"".join(user.relation_account_id for user in users), INT64)
    kind_R = np.frombuffer(b"".join(user.relation_kind for user in users), UINT8)
    _check_values("relation_account_id", account_id_R, account_id_R > 0, offsets, "must be > 0")
    _check_values("relation_kind", kind_R, _IS_RELATION[kind_R], offsets, f"must be one of {_RELATIONS}")
    return offsets, account_id_R, kind_R


def _decode_counts(users: Sequence[UserContext]) -> NDArray[np.uint32]:
    """Actions at the end of the list that the sender does not count are 0."""
    counts_BA = np.zeros((len(users), N_ACTIONS), np.uint32)
    for b, user in enumerate(users):
        counts_BA[b, : len(user.action_counts)] = user.action_counts
    return counts_BA


def _decode_recent(users: Sequence[UserContext]) -> NDArray[np.float32]:
    """Counts that decay; none at all from a sender that keeps none."""
    size, recent_BX = N_WINDOWS * N_ACTIONS, np.zeros((len(users), N_WINDOWS * N_ACTIONS), np.float32)
    for b, user in enumerate(users):
        if user.recent_counts:
            path = f"users[{b}].recent_counts"
            recent_BX[b] = column(user.recent_counts, FLOAT32, size, path)
            if not (lowest(recent_BX[b]) >= 0 and highest(recent_BX[b]) < np.inf):
                raise InvalidArgument(path, "holds a value that is negative or not finite; counts are neither")
    return recent_BX.reshape(len(users), N_WINDOWS, N_ACTIONS)


def _optional_B(users: Sequence[UserContext], name: str, unknown: int) -> Int64:
    return np.array([getattr(user, name) if user.HasField(name) else unknown for user in users], np.int64)


def _offsets(rows_B: Sequence[int]) -> Int64:
    return np.array([0, *accumulate(rows_B)], np.int64)
