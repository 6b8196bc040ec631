"""What the commands of this package say while they work: readable lines on a terminal, one JSON object a line elsewhere."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TextIO

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Lines(logging.Formatter):
    def __init__(self, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        details = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if not self._as_json:
            told = " ".join(f"{name}={value}" for name, value in details.items())
            return f"{record.getMessage()} {told}".rstrip()
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **details,
        }
        return json.dumps(line, default=str, ensure_ascii=False)


def configure(stream: TextIO) -> None:
    """Sends what this package logs to `stream`."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Lines(as_json=not stream.isatty()))
    logger = logging.getLogger(__package__)
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
