"""Places on the page that are counted from another number than 0: named before anything is trained or judged."""

from __future__ import annotations

import polars as pl
import pytest

from tests.training.logs import planted
from training import columns
from training.datasets import Dataset, checked
from training.errors import FitError
from training.event_log import EventLog
from training.log_positions import check_positions


def placed(position: pl.Expr) -> Dataset:
    data = planted(users=6)
    return checked(data.users, data.media, data.events.with_columns(position=position.cast(pl.Int32)), name="placed")


@pytest.mark.parametrize("chunk", [7, columns.CHUNK])
def test_positions_from_one_are_refused(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "CHUNK", chunk)
    log = EventLog.from_dataset(placed(pl.int_range(pl.len()) % 25 + 1))
    with pytest.raises(FitError, match=r"column position: the lowest is 1, .* subtract 1"):
        check_positions(log)


@pytest.mark.parametrize(
    "position",
    [pl.int_range(pl.len()) % 25, pl.lit(None), pl.when(pl.int_range(pl.len()) % 7 == 3).then(0).otherwise(None)],
    ids=["from 0", "none", "few, from 0"],
)
def test_positions_from_zero_and_none_at_all_are_fine(position: pl.Expr) -> None:
    check_positions(EventLog.from_dataset(placed(position)))
