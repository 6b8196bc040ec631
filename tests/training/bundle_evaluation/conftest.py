"""The trained bundle opened once, and its judgement on its own test window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from cli.sourcing import open_sourcing
from cli.workspace import Workspace
from features.dense import FINGERPRINT
from training.bundle_evaluation import JudgedLog, Judgement, OpenedBundle, judge_bundle
from training.datasets import Dataset, load

FUNNEL_USERS = 12


class Silent:
    """Steps that nobody watches."""

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[int, int], None]]:
        yield lambda done, total: None


def judged(opened: OpenedBundle, log: JudgedLog) -> Judgement:
    """On the last day of the log."""
    return judge_bundle(opened, log, log.window(), open_sourcing(opened.bundle.path), FUNNEL_USERS, Silent())


@pytest.fixture(scope="session")
def dataset(trained: Workspace) -> Dataset:
    return load(trained.current_dataset())


@pytest.fixture(scope="session")
def log(dataset: Dataset) -> JudgedLog:
    return JudgedLog(dataset)


@pytest.fixture(scope="session")
def opened(trained: Workspace) -> OpenedBundle:
    store = trained.bundles()
    return OpenedBundle.open(store.open(store.active_version(), FINGERPRINT))


@pytest.fixture(scope="session")
def judgement(opened: OpenedBundle, log: JudgedLog) -> Judgement:
    return judged(opened, log)
