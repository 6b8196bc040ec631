"""What accounts post, follow and act on, against loops over the events."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from features.actions import POSITIVE_ACTIONS, Action
from tests.training.logs import START, Event, dataset, table_of
from tests.training.sourcing.worlds import AS_OF_MINUTE, EVENTS, MEDIA, USERS, World, world
from training.sourcing.account_graph import engaged, followed, owned_accounts, posted
from training.sourcing.config import GraphConfig
from training.sourcing.lists import Lists

ACCOUNTS = [1, 2, 3]
OWNERS = st.fixed_dictionaries({user: st.sampled_from([None, *ACCOUNTS, 99]) for user in USERS})


def as_lists(lists: Lists) -> list[list[int]]:
    bounds = zip(lists.offsets[:-1], lists.offsets[1:], strict=True)
    return [lists.rows[start:end].tolist() for start, end in bounds]


def graph(made: World, config: GraphConfig) -> tuple[Lists, Lists]:
    owner_V = owned_accounts(made.log, made.users)
    return followed(made.log, owner_V, made.as_of_ms, config), engaged(made.log, owner_V, made.as_of_ms, config)


def naive(
    events: list[Event], owners: dict[str, int | None], config: GraphConfig
) -> tuple[list[list[int]], list[list[int]]]:
    follows: list[list[int]] = [[] for _ in ACCOUNTS]
    likes: list[list[int]] = [[] for _ in ACCOUNTS]
    for event in reversed(events):
        owner = owners[event.user]
        if owner not in ACCOUNTS or event.action not in POSITIVE_ACTIONS:
            continue
        place, author, media = ACCOUNTS.index(owner), event.media // 10, sorted(MEDIA).index(event.media)
        if event.action == Action.FOLLOW and author != owner and author - 1 not in follows[place]:
            follows[place].append(author - 1)
        if media not in likes[place]:
            likes[place].append(media)
    return [own[: config.follows] for own in follows], [own[: config.engaged] for own in likes]


@given(EVENTS, OWNERS, st.builds(GraphConfig, follows=st.integers(1, 3), engaged=st.integers(1, 5)))
@settings(max_examples=100, deadline=None)
def test_lists_are_those_of_loops(events: list[Event], owners: dict[str, int | None], config: GraphConfig) -> None:
    made = world(events, accounts=owners)
    follow, engage = graph(made, config)
    assert (as_lists(follow), as_lists(engage)) == naive(made.past, owners, config)


def test_without_the_column_nobody_owns_an_account() -> None:
    made = world([Event("ann", 10, Action.FOLLOW, 1)])
    assert "account_id" not in made.users.columns
    for lists in graph(made, GraphConfig()):
        assert (lists.offsets.tolist(), lists.rows.tolist(), lists.rows.dtype.name) == ([0, 0, 0, 0], [], "int32")


def test_a_user_who_is_missing_from_the_table_owns_nothing() -> None:
    made = world(
        [Event("ann", 20, Action.FOLLOW, 1), Event("bob", 10, Action.FOLLOW, 1)], accounts={"ann": 1, "bob": 2}
    )
    made = replace(made, users=made.users.filter(pl.col("user_id") == "ann"))
    assert as_lists(graph(made, GraphConfig())[0]) == [[1], [], []]


def test_newest_first_and_nothing_from_the_moment_on() -> None:
    minutes = [(20, 1), (30, 2), (20, 3), (30, AS_OF_MINUTE)]
    made = world([Event("ann", media, Action.FOLLOW, minute) for media, minute in minutes], accounts={"ann": 1})
    follow, engage = graph(made, GraphConfig())
    assert as_lists(follow) == [[1, 2], [], []]
    assert as_lists(engage) == [[3, 5], [], []]


def test_an_account_does_not_follow_itself_but_may_like_itself() -> None:
    made = world(
        [Event("ann", 10, Action.FOLLOW, 1), Event("bob", 20, Action.FOLLOW, 2)], accounts={"ann": 1, "bob": 1}
    )
    follow, engage = graph(made, GraphConfig())
    assert (as_lists(follow)[0], as_lists(engage)[0]) == ([1], [3, 0])


def test_posting_lists_hold_all_media_by_account_newest_first() -> None:
    items = table_of(dataset([Event("ann", 10, Action.CLICK, 0)], {10: "a", 11: "a", 12: "a", 20: "a", 30: "a"}))
    lists = posted(replace(items, created_at_ms_M=START + np.array([5, 9, 5, 1, 1])))
    assert (lists.offsets.tolist(), lists.rows.tolist()) == ([0, 3, 4, 5], [1, 2, 0, 3, 4])
