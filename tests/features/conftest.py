"""Fixtures of the feature tests: a small item table."""

from __future__ import annotations

import pytest

from features.item_table import ItemTable
from tests.features.worlds import item_table


@pytest.fixture(scope="session")
def items() -> ItemTable:
    return item_table()
