"""What KuaiRand's files say of an exposure beyond the rankers' features, as columns of numbers.

For `benchmarks/kuairand_limits.py` alone: most of these stand in neither the data contract nor user state. A value comes from
exposures before the one it describes (in log order, or on earlier days), from its own surface, or from what never changes.

Shapes: N exposures in time order, C columns of a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from training.datasets.csv_source import find_csv, read_csv

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

KEY = ("user_id", "video_id", "time_ms")  # of an exposure
LABELS = ("is_click", "long_view")
_NUMBERS = (*KEY, *LABELS, "tab", "play_time_ms", "duration_ms")
_DAY_MS = 24 * 60 * 60 * 1000
_PRIOR_ITEM, _PRIOR_USER, _PRIOR_PAIR = 20.0, 5.0, 10.0  # exposures that an average is worth
_BASE_RATE = 0.4
_LAST = 3  # exposures
_FACTORS = 16
_MOST_RATIO = 3.0  # of watch time to duration: some videos run in a loop


def exposures(directory: Path) -> pl.DataFrame:
    """The standard log as integers, exact repeats dropped, with `day`. Raises DatasetError as `read_csv` does."""
    logs = [read_csv(file, _NUMBERS).unique(maintain_order=True) for file in find_csv(directory, "log_standard_*")]
    numbers = pl.concat([log.select(pl.col(*_NUMBERS).cast(pl.Int64)) for log in logs])
    return numbers.sort("time_ms", maintain_order=True).with_columns(day=pl.col("time_ms") // _DAY_MS)


def known_of(directory: Path, pattern: str, key: str, of: pl.Series) -> Float64:
    """All other columns of a file of users or videos for the ids `of`, [N, C]; text becomes the numbers of its values in order."""
    text = read_csv(find_csv(directory, pattern)[0], (key,))
    columns = []
    for name in text.columns:
        number = text[name].cast(pl.Float64, strict=False)
        is_text = number.null_count() > text[name].null_count()
        columns.append(text[name].rank("dense").cast(pl.Float64).alias(name) if is_text else number)
    table = pl.DataFrame(columns).with_columns(pl.col(key).cast(pl.Int64))
    return of.to_frame(key).join(table, on=key, how="left", maintain_order="left").drop(key).to_numpy().astype(float)


def video_values(directory: Path, log: pl.DataFrame, name: str) -> Int64:
    """The values of one column of the video file as numbers from 0, [N]; videos without a value share a number."""
    file = find_csv(directory, "video_features_basic_pure")[0]
    text = read_csv(file, ("video_id", name)).with_columns(pl.col("video_id").cast(pl.Int64))
    value = log.select("video_id").join(text, on="video_id", how="left", maintain_order="left")[name]
    return value.fill_null("").rank("dense").to_numpy().astype(np.int64) - 1


def before(key_N: NDArray[np.integer], value_N: NDArray[np.number]) -> Float64:
    """Sum of the values of all earlier rows with the same key, [N]."""
    order = np.argsort(key_N, kind="stable")
    value_O, key_O = value_N[order].astype(np.float64), key_N[order]
    sum_O = np.cumsum(value_O) - value_O
    first_O = np.flatnonzero(np.diff(key_O, prepend=key_O[:1] - 1))
    out_N = np.empty(len(key_N))
    out_N[order] = sum_O - np.repeat(sum_O[first_O], np.diff(np.append(first_O, len(key_O))))
    return out_N


def groups(log: pl.DataFrame, tag_N: Int64, music_N: Int64) -> dict[str, Float64]:
    """The groups that follow from the log's own course, each [N, C]; `tag_N` and `music_N` number what the videos have."""
    user_N, video_N, tab_N = (log[name].to_numpy() for name in ("user_id", "video_id", "tab"))
    one_N = np.ones(len(log))
    expected = [_expected(log[label].to_numpy(), video_N, tab_N) for label in LABELS]
    residuals = [log[label].to_numpy() - expected_N for label, expected_N in zip(LABELS, expected, strict=True)]

    def rate(key_N: Int64, value_N: Float64, prior: float) -> Float64:
        return before(key_N, value_N) / (before(key_N, one_N) + prior)

    def of_key(key_N: Int64, prior: float) -> Float64:
        return np.stack([before(key_N, one_N), *(rate(key_N, r_N, prior) for r_N in residuals)], axis=1)

    by_surface = [
        *expected,
        *of_key(_pair(video_N, tab_N), _PRIOR_PAIR).T,
        *of_key(_pair(user_N, tab_N), _PRIOR_USER).T,
    ]
    watched_N = np.minimum(log["play_time_ms"].to_numpy() / np.maximum(log["duration_ms"].to_numpy(), 1), _MOST_RATIO)
    minutes_N = np.log1p(log["play_time_ms"].to_numpy() / 1000)
    dwell = [rate(key_N, v_N, 1.0) for key_N in (user_N, video_N) for v_N in (watched_N, minutes_N)]
    return {
        "rates by surface": np.stack(by_surface, axis=1),
        "rates of tag and music": np.concatenate([of_key(tag_N, _PRIOR_ITEM), of_key(music_N, _PRIOR_ITEM)], axis=1),
        "user's clicks against expectation": of_key(user_N, _PRIOR_USER),
        "user and tag": of_key(_pair(user_N, tag_N), _PRIOR_USER),
        "watch time of user and video": np.stack(dwell, axis=1),
        "last exposures, skipped ones too": _last(log, watched_N),
        "collaborative filtering": np.stack([_factors(log, residual_N) for residual_N in residuals], axis=1),
    }


def _expected(label_N: NDArray[np.number], video_N: Int64, tab_N: Int64) -> Float64:
    """The rate of the surface so far, moved by what the video has had above the rate of its surfaces."""
    shown_N, done_N = before(tab_N, np.ones(len(tab_N))), before(tab_N, label_N)
    surface_N = (done_N + _PRIOR_ITEM * _BASE_RATE) / (shown_N + _PRIOR_ITEM)
    above_N = before(video_N, label_N - surface_N) / (before(video_N, np.ones(len(video_N))) + _PRIOR_ITEM)
    return np.clip(surface_N + above_N, 0.02, 0.98)


def _pair(first_N: Int64, second_N: Int64) -> Int64:
    return first_N * (int(second_N.max(initial=0)) + 1) + second_N


def _last(log: pl.DataFrame, watched_N: Float64) -> Float64:
    """Of the user's last exposures whether each was clicked and how much was watched; hours since, and whether the video is new."""
    frame = log.with_columns(watched=pl.Series(watched_N), hours=pl.col("time_ms") / 3_600_000)
    columns = [pl.col(name).shift(k).over("user_id") for k in range(1, _LAST + 1) for name in ("is_click", "watched")]
    shifted = frame.select(
        *(column.alias(str(place)) for place, column in enumerate(columns)),
        (pl.col("hours") - pl.col("hours").shift(1).over("user_id")).alias("since"),
        pl.int_range(pl.len()).over("user_id", "video_id").alias("seen"),
    )
    return shifted.to_numpy().astype(np.float64)


def _factors(log: pl.DataFrame, residual_N: Float64) -> Float64:
    """What the leading factors of users by videos, learned from all days before the exposure's own, say of the pair, [N]."""
    user_N, video_N, day_N = (log[name].to_numpy() for name in ("user_id", "video_id", "day"))
    said_N = np.zeros(len(log))
    size = (int(user_N.max()) + 1, int(video_N.max()) + 1)
    for day in np.unique(day_N)[1:]:
        past_N, now_N = day_N < day, day_N == day
        place_2P = torch.from_numpy(np.stack([user_N[past_N], video_N[past_N]]))
        value_P = torch.from_numpy(residual_N[past_N])
        matrix = torch.sparse_coo_tensor(place_2P, value_P, size, check_invariants=True).coalesce()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            left_UK, strength_K, right_VK = torch.svd_lowrank(matrix, q=_FACTORS)
        users_NK, videos_NK = (left_UK * strength_K).numpy()[user_N[now_N]], right_VK.numpy()[video_N[now_N]]
        said_N[now_N] = (users_NK * videos_NK).sum(axis=1)
    return said_N


def place_of(log: pl.DataFrame, keys: Sequence[pl.Series]) -> Int64:
    """The row of `log` of every exposure that three columns name as `KEY` does, [N]; the first of those with one key.

    Raises ValueError if the log lacks one.
    """
    first = log.select(KEY).with_row_index("place").unique(list(KEY), keep="first", maintain_order=True)
    asked = pl.DataFrame([column.alias(name) for name, column in zip(KEY, keys, strict=True)])
    place = asked.join(first, on=list(KEY), how="left", maintain_order="left")["place"]
    if place.null_count():
        raise ValueError(f"the log lacks {place.null_count()} of {len(place)} exposures")
    return place.to_numpy().astype(np.int64)
