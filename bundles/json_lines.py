"""A log record as one line of JSON. Here, below `serving`, because what fetches bundles and what serves them run side by side: one
reader takes the lines of both."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """One object per record; a value that JSON does not know is written as its string."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self.context(),
            **details(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)

    def context(self) -> Mapping[str, Any]:
        """Fields of whatever is going on when the record is written."""
        return {}


def details(record: logging.LogRecord) -> dict[str, Any]:
    """What was passed as `extra={...}`."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}
