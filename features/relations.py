"""How users stand to accounts: whom they follow, whom they mute, whom they block. Knows neither media nor where it is stored.

The integer codes are wire and storage format, as those of `features.actions`: a code is never reused or renumbered.

Shapes: B users, R relations of all users one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

NO_ACCOUNT = 0  # account id of a user who posts under none, or under none that is known; account ids are > 0


class Relation(IntEnum):
    """What an account is to a user. An account can be several of these: whoever mutes an account may go on following it."""

    FOLLOWED = 1
    MUTED = 2  # not to be recommended; the user may still visit it
    BLOCKED = 3  # must not be shown at all


# The newest ones that are kept per user. The longest lists hold 200 kB, which is still one fast read; only a user who has made a
# business of it has more, and blocking is what must hold longest.
MAX_ACCOUNTS: Mapping[Relation, int] = {Relation.FOLLOWED: 5_000, Relation.MUTED: 10_000, Relation.BLOCKED: 10_000}


class RelationColumns(TypedDict):
    """The columns of `UserContexts` that hold relations, to be passed on with `**`."""

    relation_offsets: Int64  # B + 1
    relation_account_id_R: Int64
    relation_kind_R: NDArray[np.uint8]


def no_accounts() -> dict[Relation, Int64]:
    """The relations of a user who has none."""
    return {relation: np.empty(0, dtype=np.int64) for relation in Relation}


def relation_columns(users: Sequence[Mapping[Relation, Int64]]) -> RelationColumns:
    """The relations of B users, each the accounts by kind, oldest first, as one ragged table ordered by user and kind."""
    parts = [(int(relation), user[relation]) for user in users for relation in Relation]
    lengths = np.array([len(accounts) for _, accounts in parts], dtype=np.int64)
    per_user_B = lengths.reshape(len(users), len(Relation)).sum(axis=1)
    return {
        "relation_offsets": np.concatenate([[0], np.cumsum(per_user_B)]).astype(np.int64),
        "relation_account_id_R": np.concatenate([*(accounts for _, accounts in parts), np.empty(0, dtype=np.int64)]),
        "relation_kind_R": np.repeat(np.array([kind for kind, _ in parts], dtype=np.uint8), lengths),
    }


def no_relations(users: int) -> RelationColumns:
    """The columns of B users who have no relations."""
    return relation_columns([no_accounts()] * users)
