"""The columns of the funnel log, one row per candidate: serving writes them, training reads them. Knows names; touches no file.

The log is a directory of Parquet files, each of one bundle. docs/funnel_log.md says what every column holds.
"""

from __future__ import annotations

from enum import StrEnum

from features.schema import Stage

FILE_PREFIX, FILE_SUFFIX = "funnel-", ".parquet"  # of a finished file; names sort by the time of writing


class Column(StrEnum):
    """The columns that every file has."""

    REQUEST_ID = "request_id"
    USER_ID = "user_id"
    REQUEST_TIME = "request_time"
    CLOCK_START = "clock_start"  # where the data clock of a recorded log began; null on the wall clock
    SURFACE = "surface"
    BUNDLE_VERSION = "bundle_version"
    FEATURE_SCHEMA = "feature_schema"
    MEDIA_ID = "media_id"
    AUTHOR_ID = "author_id"
    SOURCE = "source"
    SEED_ACCOUNT_ID = "seed_account_id"
    RETRIEVAL_PLACE = "retrieval_place"
    RETRIEVAL_SCORE = "retrieval_score"
    POSITION = "position"
    DROPPED_AT = "dropped_at"
    FEATURES = "features"


def score_column(stage: Stage) -> str:
    """The score that a stage gave; null where it gave none."""
    return f"{stage}_score"


def probability_prefix(stage: Stage) -> str:
    """With the name of a task behind it: the column of what the stage thinks that P(task) is; null where it gave no score."""
    return f"{stage}_p_"
