"""Lists of a shard and the recipe that makes candidates of them <-> Unmixed. Shapes: B users, N rows of all lists, L lists."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from protos.explore.v1 import retrieval_pb2 as proto
from serving.columns import CandidateColumns, Lists
from serving.errors import InvalidArgument
from serving.recipe import ALL, FirstOf, ListOf, Mixed, Recipe, Spread, United
from serving.wire.columns import INT64, UINT8, check_length, check_rows, column, to_bytes

MAX_LISTS = 256  # list_index is one byte
FLOAT64 = np.dtype("<f8")


def encode_unmixed(lists: Lists) -> proto.Unmixed:
    """The message beside the candidates. ValueError if there are more lists than one byte can name."""
    if lists.more_BL.shape[1] > MAX_LISTS:
        raise ValueError(f"{lists.more_BL.shape[1]} lists, at most {MAX_LISTS} fit")
    return proto.Unmixed(
        lists=lists.more_BL.shape[1],
        list_index=to_bytes(lists.list_N, UINT8),
        key=to_bytes(lists.key_N, FLOAT64),
        goes_on=to_bytes(lists.more_BL, UINT8),
        recipe=_encode_recipe(lists.recipe),
        group=to_bytes(lists.group_N, INT64) if lists.group_N.any() else b"",
        tie=to_bytes(lists.tie_N, FLOAT64) if lists.tie_N.any() else b"",
    )


def decode_unmixed(message: proto.Unmixed, candidates: CandidateColumns) -> Lists:
    """The lists that `candidates` are. Raises InvalidArgument with the path of the first field that is wrong."""
    users, rows, path = len(candidates.offsets) - 1, len(candidates), "unmixed"
    if not 1 <= message.lists <= MAX_LISTS:
        raise InvalidArgument(f"{path}.lists", f"is {message.lists}, must lie in 1..{MAX_LISTS}")
    list_N = column(message.list_index, UINT8, rows, f"{path}.list_index")
    check_rows(list_N < message.lists, list_N, f"{path}.list_index", f"below the {message.lists} lists")
    key_N = _finite(message.key, rows, f"{path}.key")
    tie_N = _finite(message.tie or bytes(FLOAT64.itemsize * rows), rows, f"{path}.tie")
    group_N = column(message.group or bytes(INT64.itemsize * rows), INT64, rows, f"{path}.group")
    more_X = column(message.goes_on, UINT8, users * message.lists, f"{path}.goes_on")
    check_rows(more_X <= 1, more_X, f"{path}.goes_on", "0 or 1")
    recipe = _decode_recipe(message.recipe, message.lists, f"{path}.recipe")
    more_BL = more_X.reshape(users, message.lists).astype(np.bool_)
    return Lists(candidates, list_N.astype(np.int64), key_N, tie_N, group_N, more_BL, recipe)


def _finite(data: bytes, rows: int, path: str) -> NDArray[np.float64]:
    value_N = column(data, FLOAT64, rows, path)
    check_rows(np.isfinite(value_N), value_N, path, "finite")
    return value_N


def _encode_recipe(recipe: Recipe) -> proto.Recipe:
    most = 0 if recipe.most == ALL else min(recipe.most, np.iinfo(np.uint32).max)
    if isinstance(recipe, ListOf):
        return proto.Recipe(most=most, list=recipe.number)
    if isinstance(recipe, Spread):
        return proto.Recipe(
            most=most, spread=proto.SpreadRecipe(part=_encode_recipe(recipe.part), max_per=recipe.max_per)
        )
    parts = [_encode_recipe(part) for part in recipe.parts]
    if isinstance(recipe, Mixed):
        return proto.Recipe(most=most, mix=proto.MixRecipe(parts=parts, weights=recipe.weights, size=recipe.size))
    if isinstance(recipe, United):
        return proto.Recipe(most=most, union=proto.UnionRecipe(parts=parts))
    return proto.Recipe(most=most, fallback=proto.FallbackRecipe(parts=parts, at_least=recipe.at_least))


def _decode_recipe(message: proto.Recipe, lists: int, path: str) -> Recipe:
    most, kind = message.most or ALL, message.WhichOneof("step")
    if kind is None:
        raise InvalidArgument(path, "must be a list, a mix, a union, a fallback or a spread")
    if kind == "list":
        if message.list >= lists:
            raise InvalidArgument(f"{path}.list", f"is {message.list}, must be below the {lists} lists")
        return ListOf(message.list, most)
    if kind == "spread":
        return Spread(_decode_recipe(message.spread.part, lists, f"{path}.spread.part"), message.spread.max_per, most)
    step: Any = getattr(message, kind)
    if not step.parts:
        raise InvalidArgument(f"{path}.{kind}.parts", "is empty")
    parts = tuple(_decode_recipe(part, lists, f"{path}.{kind}.parts[{p}]") for p, part in enumerate(step.parts))
    if kind == "union":
        return United(parts, most)
    if kind == "fallback":
        return FirstOf(parts, step.at_least, most)
    check_length(step.weights, len(parts), f"{path}.mix.weights")
    weights = np.array(step.weights)
    check_rows(np.isfinite(weights) & (weights > 0), weights, f"{path}.mix.weights", "a number above 0")
    return Mixed(parts, tuple(step.weights), step.size, most)
