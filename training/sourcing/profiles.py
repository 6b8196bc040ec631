"""Columns of the users table in the order of the log's user numbers. Knows that users may be missing; knows no meaning."""

from __future__ import annotations

import polars as pl

from training.event_log import EventLog


def user_column(log: EventLog, users: pl.DataFrame, name: str) -> pl.Series:
    """One value per user number, null for users that the table lacks, and for all of them if it lacks the column."""
    numbered = pl.DataFrame({"user_id": list(log.user_ids)}, schema={"user_id": pl.String})
    if name not in users.columns:
        return pl.Series(name, [None] * len(numbered))
    known = users.select("user_id", name)
    return numbered.join(known, on="user_id", how="left", maintain_order="left", validate="m:1")[name]
