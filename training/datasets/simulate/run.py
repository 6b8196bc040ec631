"""Runs a world through its log and writes the data set with its truth. Knows the order of things only."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl

from training.datasets.load import Dataset, checked
from training.datasets.progress import Progress, silent
from training.datasets.simulate.config import DAY_MS, SimulationConfig
from training.datasets.simulate.day import Day, live_day
from training.datasets.simulate.platform import draw_platform
from training.datasets.simulate.policy import LoggingPolicy
from training.datasets.simulate.population import draw_accounts, draw_follows, draw_media, draw_topics
from training.datasets.simulate.state import Int64
from training.datasets.simulate.tables import events_table, media_table, users_table
from training.datasets.simulate.tastes import draw_users
from training.datasets.simulate.world import World
from training.datasets.write import staging, write_tables


def simulate(config: SimulationConfig, out_dir: Path | str, progress: Progress = silent) -> Dataset:
    """Simulates a log and writes it to `out_dir` with its `truth/`, which `World.load` reads.

    Equal configs give equal bytes. Raises DatasetError when `out_dir` holds something that is no data set; whatever
    fails, `out_dir` holds what it held before.
    """
    steps = config.days + 2
    with staging(out_dir) as staged:
        world = create_world(config)
        platform = draw_platform(world, *_generators(config, 2, stream=2))
        progress(1, steps)
        world, events = _live(world, progress, steps)
        dataset = checked(
            users_table(world, platform),
            media_table(world, platform),
            events.sort("event_time", maintain_order=True),
            name=f"simulated-{config.users}-users-seed-{config.seed}",
            created_by="explore simulate",
            seed=config.seed,
        )
        written = write_tables(dataset, staged)
        world.save(staged)
    progress(steps, steps)
    return dataclasses.replace(written, root=Path(out_dir))


def create_world(config: SimulationConfig) -> World:
    """A world in the morning of its first day. Equal configs give equal worlds."""
    topic_rng, account_rng, media_rng, user_rng, follow_rng = _generators(config, 5, stream=0)
    topics = draw_topics(config, topic_rng)
    accounts = draw_accounts(config, topics, account_rng)
    media = draw_media(config, topics, accounts, media_rng)
    users = draw_users(config, topics, user_rng)
    follows = draw_follows(config, topics, accounts, users.taste_NUD[0], follow_rng)
    return World(config, topics, accounts, media, users, follows)


def _live(world: World, progress: Progress, steps: int) -> tuple[World, pl.DataFrame]:
    """All days, and the world with the follows that they brought."""
    policy, tables, n_requests = LoggingPolicy(), [], 0
    for number, rng in enumerate(_generators(world.config, world.config.days, stream=1)):
        day = live_day(world, policy, number, rng)
        tables.append(events_table(world, day, n_requests))
        n_requests += len(day.requests.user_R)
        tomorrow_ms = world.config.start_ms + (number + 1) * DAY_MS
        world = dataclasses.replace(world, follows=world.follows.extended(_new_follows(world, day), tomorrow_ms))
        progress(number + 2, steps)
    return world, pl.concat(tables)


def _new_follows(world: World, day: Day) -> Int64:
    (follows,) = (events for events in day.events if events.action.name == "FOLLOW")
    user = day.requests.user_R[day.slates.request_X[follows.impression_Y]]
    return user * world.config.accounts + world.media.account_M[day.slates.media_X[follows.impression_Y]]


def _generators(config: SimulationConfig, count: int, stream: int) -> list[np.random.Generator]:
    """Independent generators, so that a change in one part of the world leaves the draws of the others alone."""
    return [np.random.default_rng(seed) for seed in np.random.SeedSequence([config.seed, stream]).spawn(count)]
