"""The answer of one shard on the wire: what was sent comes back, and what cannot be one is refused by its field."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.shards import Shard
from protos.explore.v1.retrieval_pb2 import RetrieveRequest, RetrieveResponse, SourceReport, SourcingReport, Unmixed
from serving.columns import Lists
from serving.errors import InvalidArgument, StageContractViolation
from serving.recipe import ALL, FirstOf, ListOf, Mixed, Recipe, Spread, United
from serving.wire import (
    decode_lists,
    decode_retrieve_request,
    decode_retrieve_response,
    encode_candidates,
    encode_unmixed,
)
from tests.serving.batches import candidates, user

SHARD, FIRST = Shard(1, 2), ListOf(0)
MOST = st.one_of(st.just(ALL), st.integers(1, 2**32 - 1))


def combined(parts: st.SearchStrategy[Recipe]) -> st.SearchStrategy[Recipe]:
    several = st.lists(parts, min_size=1, max_size=3).map(tuple)
    weight = st.floats(1e-6, 1e6)
    mixed = several.flatmap(
        lambda own: st.builds(Mixed, st.just(own), st.tuples(*[weight for _ in own]), st.integers(0, 5_000), MOST)
    )
    spread = st.builds(Spread, parts, st.integers(0, 10), MOST)
    return st.one_of(
        mixed, st.builds(United, several, MOST), st.builds(FirstOf, several, st.integers(1, 500), MOST), spread
    )


RECIPES = st.recursive(st.builds(ListOf, st.integers(0, 1), MOST), combined, max_leaves=8)


def answer(recipe: Recipe = FIRST) -> RetrieveResponse:
    """Two users, two lists, three rows."""
    columns = candidates([[0.5, 0.4], [0.3]])
    more_BL = np.array([[True, False], [False, False]])
    key_N, tie_N = np.array([-0.5, 2.0, 1e300]), np.array([0.0, -3.5, 9.0])
    lists = Lists(columns, np.array([0, 1, 1]), key_N, tie_N, np.array([7, -8, 0]), more_BL, recipe)
    report = SourcingReport(sources=[SourceReport()] * len(columns.sources))
    return RetrieveResponse(
        candidates=encode_candidates(columns),
        bundle_version="v1",
        reports=[report] * 2,
        shard_index=1,
        shard_count=2,
        unmixed=encode_unmixed(lists),
    )


@given(RECIPES)
def test_what_a_shard_sends_comes_back(recipe: Recipe) -> None:
    found = decode_lists(answer(recipe), "retrieval", 2, SHARD, "v1")
    assert found.recipe == recipe
    assert (found.list_N.tolist(), found.group_N.tolist()) == ([0, 1, 1], [7, -8, 0])
    assert found.key_N.tolist() == [-0.5, 2.0, 1e300]
    assert found.tie_N.tolist() == [0.0, -3.5, 9.0]
    assert found.more_BL.tolist() == [[True, False], [False, False]]


def _of(field: str, value: object) -> Callable[[Unmixed], None]:
    return lambda message: setattr(message, field, value)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (_of("lists", 0), r"unmixed\.lists is 0, must lie in 1\.\.256"),
        (_of("lists", 257), r"unmixed\.lists is 257"),
        (_of("lists", 1), r"unmixed\.list_index\[1\] is 1, must be below the 1 lists"),
        (_of("list_index", b""), r"unmixed\.list_index has 0 bytes, expected 3"),
        (_of("key", b"1234"), r"unmixed\.key has 4 bytes"),
        (_of("key", np.array([0, math.nan, 0]).tobytes()), r"unmixed\.key\[1\] is nan, must be finite"),
        (_of("tie", np.array([0, 0, math.inf]).tobytes()), r"unmixed\.tie\[2\] is inf, must be finite"),
        (_of("tie", bytes(8)), r"unmixed\.tie has 8 bytes"),
        (_of("group", b"1"), r"unmixed\.group has 1 bytes"),
        (_of("goes_on", b"\1"), r"unmixed\.goes_on has 1 bytes"),
        (_of("goes_on", b"\0\0\2\0"), r"unmixed\.goes_on\[2\] is 2, must be 0 or 1"),
        (lambda message: message.ClearField("recipe"), r"unmixed\.recipe must be a list, a mix"),
        (lambda message: setattr(message.recipe, "list", 2), r"unmixed\.recipe\.list is 2, must be below the 2 lists"),
        (lambda message: message.recipe.mix.SetInParent(), r"unmixed\.recipe\.mix\.parts is empty"),
        (lambda message: message.recipe.spread.SetInParent(), r"unmixed\.recipe\.spread\.part must be a list"),
    ],
)
def test_what_cannot_be_an_answer_is_refused_by_its_field(spoil: Callable[[Unmixed], None], problem: str) -> None:
    response = answer()
    spoil(response.unmixed)
    with pytest.raises(StageContractViolation, match=problem):
        decode_lists(response, "retrieval", 2, SHARD)


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf])
def test_a_weight_that_shares_nothing_out_is_refused(weight: float) -> None:
    response = answer(Mixed((ListOf(0), ListOf(1)), (1.0, 1.0)))
    response.unmixed.recipe.mix.weights[1] = weight
    with pytest.raises(StageContractViolation, match=r"mix\.weights\[1\] is"):
        decode_lists(response, "retrieval", 2, SHARD)


def test_the_answer_of_another_shard_or_bundle_is_refused() -> None:
    with pytest.raises(StageContractViolation, match="is shard 1 of 2, it is called as shard 0 of 2"):
        decode_lists(answer(), "retrieval", 2, Shard(0, 2))
    with pytest.raises(StageContractViolation, match="it is called as shard 0 of 1"):
        decode_retrieve_response(answer(), "retrieval", [2, 1])
    with pytest.raises(StageContractViolation, match="'v2' was asked for"):
        decode_lists(answer(), "retrieval", 2, SHARD, "v2")


def test_a_report_that_leaves_out_a_source_is_refused() -> None:
    response = answer()
    del response.reports[1].sources[:]
    with pytest.raises(StageContractViolation, match=r"reports\[1\]\.sources has 0 entries"):
        decode_lists(response, "retrieval", 2, SHARD)


def test_more_lists_than_a_byte_can_name_are_not_sent() -> None:
    columns = candidates([[0.5]])
    none = np.zeros(1, dtype=np.int64)
    lists = Lists(columns, none, np.zeros(1), np.zeros(1), none, np.zeros((1, 257), dtype=np.bool_), ListOf(0))
    with pytest.raises(ValueError, match="257 lists, at most 256 fit"):
        encode_unmixed(lists)


def test_users_of_an_unmixed_call_have_one_query() -> None:
    request = RetrieveRequest(users=[user("ann"), user("bob")], counts=[1, 1], queries=["", "fresh"], unmixed=True)
    with pytest.raises(InvalidArgument, match="queries must be the same for all users of an unmixed call"):
        decode_retrieve_request(request)
