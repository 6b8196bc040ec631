"""A world and its days as the tables of the data contract. Knows columns; decides nothing.

Shapes: X impressions of a day, Y events of one action.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from features.actions import action_name
from training.datasets.contract import TIME
from training.datasets.simulate.day import ActionEvents, Day
from training.datasets.simulate.names import TOPIC_NAMES
from training.datasets.simulate.platform import NOBODY, POLICY_FLAGS, Platform
from training.datasets.simulate.state import Int64
from training.datasets.simulate.world import World

SURFACE = "explore"
_TIERS = ("casual", "regular", "power")  # by activity: below 0.5 times the mean, up to 2 times, above


def users_table(world: World, platform: Platform) -> pl.DataFrame:
    """The users as they were when the log started, so that no column knows the future."""
    users, account_U = world.users, platform.account_U
    owner_F = world.follows.pair_F[world.follows.since_ms_F < world.config.start_ms] // world.config.accounts
    return pl.DataFrame(
        {
            "user_id": pl.Series(np.arange(world.config.users) + 1).cast(pl.String),
            "registered_at": pl.Series(users.registered_ms_U).cast(TIME),
            "n_following": np.bincount(owner_F, minlength=world.config.users),
            "n_followers": users.followers_U,
            "segment": np.array(_TIERS)[np.digitize(users.activity_U, (0.5, 2.0))],
            "account_id": world.accounts.account_id_A[account_U],
        }
    ).with_columns(pl.when(pl.Series(account_U != NOBODY)).then("account_id"))


def media_table(world: World, platform: Platform) -> pl.DataFrame:
    """All media, also those that are posted during the log."""
    media, names = world.media, np.array(TOPIC_NAMES)
    flags = [
        pl.when(pl.Series(flagged_M)).then(pl.lit(name))
        for name, flagged_M in zip(POLICY_FLAGS, platform.flagged_MP.T, strict=True)
    ]
    topic_M, home_M = names[media.topic_M], names[world.accounts.topic_A[media.account_M]]
    return pl.DataFrame(
        {
            "media_id": media.media_id_M,
            "author_id": world.accounts.account_id_A[media.account_M],
            "created_at": pl.Series(media.created_ms_M).cast(TIME),
            "duration_ms": media.duration_ms_M,
            "topic": topic_M,
            "non_recommendable_score": pl.Series(media.score_M, nan_to_null=True),
            "home": home_M,
        }
    ).select(
        pl.exclude("home"),
        policy_flags=pl.concat_list(flags).list.drop_nulls(),
        tags=pl.concat_list("topic", "home").list.unique(maintain_order=True),
    )


def events_table(world: World, day: Day, first_request: int) -> pl.DataFrame:
    """The events of one day; its requests are numbered from `first_request`."""
    slates, row_X = day.slates, day.slates.request_X
    time_ms_R = day.requests.time_ms_R
    # A slot of a random request shows any of the media that exist by then, each with the same chance.
    pool_R = np.searchsorted(np.sort(world.media.created_ms_M), time_ms_R)
    impressions = pl.DataFrame(
        {
            "user_id": pl.Series(day.requests.user_R[row_X] + 1).cast(pl.String),
            "media_id": world.media.media_id_M[slates.media_X],
            "author_id": world.accounts.account_id_A[world.media.account_M[slates.media_X]],
            "request_id": pl.Series(row_X + first_request).cast(pl.String),
            "position": slates.position_X.astype(np.int32),
            "propensity": pl.Series(np.where(slates.is_random_X, 1.0 / pool_R[row_X], np.nan), nan_to_null=True),
        }
    ).with_columns(pl.format("req-{}", "request_id").alias("request_id"), pl.lit(SURFACE).alias("surface"))
    return pl.concat(_of_action(impressions, day.time_ms_X, events) for events in day.events)


def _of_action(impressions: pl.DataFrame, time_ms_X: Int64, events: ActionEvents) -> pl.DataFrame:
    time_ms_Y = time_ms_X[events.impression_Y] + events.delay_ms_Y
    value = pl.lit(None) if events.value_Y is None else pl.Series(events.value_Y)
    return impressions[events.impression_Y].select(
        "user_id",
        "media_id",
        "author_id",
        pl.Series(time_ms_Y).cast(TIME).alias("event_time"),
        pl.lit(action_name(events.action)).alias("action"),
        value.cast(pl.Float32).alias("value"),
        "request_id",
        "position",
        "surface",
        pl.col("propensity").cast(pl.Float32),
    )
