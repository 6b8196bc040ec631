"""Log lines are JSON objects."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()  # configure() closes what it replaces, and pytest's handlers are needed again
    stream = io.StringIO()
    logs.configure("INFO", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_extra_fields_stand_beside_the_message(stream: io.StringIO) -> None:
    logging.getLogger("a.b").warning("said %s", "it\nso", extra={"port": 5, "path": Path("x")})
    (line,) = lines(stream)
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "WARNING", "logger": "a.b", "message": "said it\nso", "port": 5, "path": "x"}


def test_traceback_is_one_field(stream: io.StringIO) -> None:
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger().exception("failed")
    (line,) = lines(stream)
    assert line["traceback"].endswith("ValueError: no")


def test_lower_levels_are_dropped(stream: io.StringIO) -> None:
    logging.getLogger().debug("detail")
    assert lines(stream) == []
