"""Bundles whose only file is a text, and what serves from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundles.bundle import Bundle
from bundles.store import BundleStore
from serving.errors import SettingRefused
from serving.holder import Holder
from serving.testing import FakeClock
from tests.bundles.conftest import fields

PIN_S = 10.0
Publish = Callable[..., str]


class Model:
    """What a bundle's text makes; a weak reference can watch it."""

    def __init__(self, bundle: Bundle) -> None:
        self.text = bundle.file("table").read_text()
        if self.text == "unreadable":
            raise SettingRefused(bundle.version, "it cannot be read")
        if self.text == "bug":
            raise ZeroDivisionError


def spoil(store: BundleStore, version: str, text: str = "spoilt") -> None:
    path = store.root / version / "table"
    path.chmod(0o644)
    path.write_text(text)


@pytest.fixture
def store(tmp_path: Path) -> BundleStore:
    ticks = iter(range(1_767_571_200_000, 1_767_571_300_000))
    return BundleStore(tmp_path / "bundles", now_ms=lambda: next(ticks))


@pytest.fixture
def publish(store: BundleStore) -> Publish:
    def publish_text(text: str, activate: bool = True, **changes: Any) -> str:
        with store.stage() as staged:
            (staged / "table").write_text(text)
            version = store.publish(staged, **{**fields(), **changes}).version
        if activate:
            store.activate(version)
        return version

    return publish_text


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def holder(clock: FakeClock) -> Holder[Model]:
    return Holder[Model](PIN_S, clock)
