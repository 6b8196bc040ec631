"""What the simulated log looks like from outside: rates, bias, novelty, and signal that a model can find."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from features.actions import TASKS
from tests.training.datasets.simulate.conftest import Log
from training.datasets.simulate import examination_probability
from training.datasets.simulate.config import DAY_MS

NAMES = [task.name for task in TASKS]


def truth(log: Log, frame: pl.DataFrame) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """P(task | examined) of each impression, at its moment."""
    time_ms = frame["event_time"].dt.epoch("ms").to_numpy()
    return log.world.action_probabilities(frame["user_id"].to_list(), frame["media_id"].to_numpy(), time_ms)


def day(log: Log) -> pl.Expr:
    return (pl.col("event_time").dt.epoch("ms") - log.world.config.start_ms) // DAY_MS


@pytest.mark.parametrize("task", NAMES)
def test_actions_happen_as_often_as_the_truth_says(log: Log, task: str) -> None:
    chance_X = truth(log, log.frame)[task] * examination_probability(log.frame["position"].to_numpy())
    done_X = log.frame[task].to_numpy()
    for part in np.array_split(np.argsort(chance_X), 5):
        expected = chance_X[part].sum()
        spread = np.sqrt((chance_X[part] * (1 - chance_X[part])).sum())
        assert done_X[part].sum() == pytest.approx(expected, abs=4.5 * spread + 1)


@pytest.mark.parametrize(
    ("task", "low", "high"),
    [
        *(("click", 0.15, 0.25), ("long_view", 0.05, 0.2), ("like", 0.03, 0.06), ("save", 0.005, 0.02)),
        *(("share", 0.005, 0.02), ("comment", 0.002, 0.015), ("follow", 0.005, 0.015), ("negative", 0.005, 0.015)),
    ],
)
def test_rates_are_those_of_a_feed(log: Log, task: str, low: float, high: float) -> None:
    rate = log.frame[task].to_numpy().mean()
    assert low < rate < high


def test_the_log_has_the_size_it_promises(log: Log) -> None:
    assert 150_000 < len(log.dataset.events) < 200_000
    assert log.world.config.start_ms < log.dataset.as_of_ms <= log.world.config.end_ms


def test_slates_have_a_page_of_positions_without_gaps(log: Log) -> None:
    slates = log.frame.group_by("request_id").agg(
        pl.len(), top=pl.col("position").max(), distinct=pl.n_unique("position")
    )
    assert slates["len"].is_between(1, 25).all()
    assert (slates["top"] + 1 == slates["len"]).all()
    assert slates["distinct"].equals(slates["len"], check_names=False)
    assert slates["len"].to_numpy().mean() > 21


def test_the_same_chance_gets_fewer_clicks_further_down(log: Log) -> None:
    """Random requests order by chance alone, so what falls with the position is examination."""
    random = log.frame.filter(pl.col("propensity").is_not_null())
    top, bottom = (random.filter(pl.col("position").is_between(*span))["click"] for span in ((0, 5), (15, 25)))
    assert top.to_numpy().mean() > 1.4 * bottom.to_numpy().mean()


def test_no_user_meets_the_same_media_twice(log: Log) -> None:
    assert not log.frame.select(pl.struct("user_id", "media_id").is_duplicated().any()).item()


def test_nothing_is_shown_before_it_is_posted_or_to_those_who_have_not_come(log: Log) -> None:
    seen = log.frame.join(log.dataset.media, on="media_id").join(log.dataset.users, on="user_id")
    assert (seen["event_time"] > seen["created_at"]).all()
    assert (seen["event_time"] > seen["registered_at"]).all()


def test_new_media_are_shown_every_day(log: Log) -> None:
    seen = log.frame.join(log.dataset.media, on="media_id").with_columns(day=day(log))
    fresh = (
        seen.filter(pl.col("event_time") - pl.col("created_at") < pl.duration(days=1))
        .group_by("day")
        .agg(media=pl.n_unique("media_id"))
    )
    assert len(fresh) == log.world.config.days
    assert fresh["media"].to_numpy().min() > 20


def test_spam_draws_clicks_few_likes_and_many_complaints(log: Log) -> None:
    spam_ids = log.world.accounts.account_id_A[log.world.accounts.is_spam_A].tolist()
    spam, rest = (log.frame.filter(pl.col("author_id").is_in(spam_ids) == is_spam) for is_spam in (True, False))
    rate = {name: spam[name].to_numpy().mean() / rest[name].to_numpy().mean() for name in ("click", "like", "negative")}
    assert rate["click"] > 0.9
    assert rate["like"] < 0.6
    assert rate["negative"] > 4
    assert (log.dataset.events["action"] == "report").any()


def test_random_requests_know_their_propensity_and_reach_everything(log: Log) -> None:
    random = log.frame.filter(pl.col("propensity").is_not_null())
    share = random["request_id"].n_unique() / log.frame["request_id"].n_unique()
    assert 0.02 < share < 0.04
    assert (1 / random["propensity"]).is_between(0.7 * log.world.config.media, log.world.config.media).all()
    assert log.frame["media_id"].n_unique() > 0.95 * log.world.config.media


def test_taste_explains_clicks(log: Log) -> None:
    frame = log.frame.filter(pl.col("propensity").is_null())
    users, media = log.world.user_rows(frame["user_id"].to_list()), log.world.media_rows(frame["media_id"].to_numpy())
    days = log.world.day(frame["event_time"].dt.epoch("ms").to_numpy())
    match_X = np.einsum("xd,xd->x", log.world.users.taste_NUD[days, users], log.world.media.vector_MD[media])
    assert np.corrcoef(match_X, frame["click"].to_numpy())[0, 1] > 0.2


def clicks_by_habit(log: Log, history: pl.Expr) -> tuple[float, float]:
    """Click rates of the last three days on topics that the user had clicked in `history`, and on others."""
    frame = log.frame.join(log.dataset.media.select("media_id", "topic"), on="media_id").with_columns(day=day(log))
    habits = frame.filter(history, pl.col("click")).select("user_id", "topic").unique().with_columns(known=True)
    active = frame.filter(pl.col("day") >= 11).join(habits.select("user_id").unique(), on="user_id", how="semi")
    later = active.join(habits, on=["user_id", "topic"], how="left")
    known = later["known"].is_not_null()
    return tuple(float(later.filter(part)["click"].to_numpy().mean()) for part in (known, ~known))  # type: ignore[return-value]


def test_history_predicts_the_next_clicks(log: Log) -> None:
    known, unknown = clicks_by_habit(log, pl.col("day") < 11)
    assert known > 1.5 * unknown


def test_the_last_click_of_a_session_tells_more_than_taste(log: Log) -> None:
    """Moods: after a click on a topic, its next appearance in the same block of hours is clicked more than expected."""
    frame = log.frame.join(log.dataset.media.select("media_id", "topic"), on="media_id").with_columns(
        block=pl.col("event_time").dt.truncate("4h")
    )
    key = ["user_id", "topic"]
    frame = frame.with_columns(
        was_click=pl.col("click").shift(1).over(key), was_block=pl.col("block").shift(1).over(key)
    ).drop_nulls("was_click")
    same = pl.col("was_block") == pl.col("block")
    lift = [
        frame.filter(part, "was_click")["click"].to_numpy().mean()
        / frame.filter(part, ~pl.col("was_click"))["click"].to_numpy().mean()
        for part in (same, ~same)
    ]
    assert lift[0] > lift[1]


def test_followed_accounts_are_clicked_more_and_follows_last(log: Log) -> None:
    follows = log.world.follows
    new = follows.since_ms_F > 0
    assert new.sum() > 500
    assert ((follows.since_ms_F[new] - log.world.config.start_ms) % DAY_MS == 0).all()
    assert log.dataset.users["n_following"].sum() == (~new).sum()


def test_dwell_comes_with_clicks_and_in_milliseconds(log: Log) -> None:
    dwell = log.dataset.events.filter(pl.col("action") == "dwell")
    clicks = log.dataset.events.filter(pl.col("action") == "click")
    assert dwell.join(clicks, on=["request_id", "media_id"], how="anti").is_empty()
    assert dwell["value"].is_between(500, 300_000).all()
    assert 0.45 < len(dwell) / len(clicks) < 0.55
