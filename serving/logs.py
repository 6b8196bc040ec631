"""Logs as JSON lines on stderr, one object each: the message, the ids of the running call, and what is passed as `extra={...}`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from bundles import json_lines
from serving import tracing


class JsonLines(json_lines.JsonLines):
    """With the ids of the call that the record was written in."""

    def context(self) -> Mapping[str, Any]:
        """None outside of calls."""
        return tracing.log_fields()


def configure(level: str, stream: TextIO | None = None) -> None:
    """Sends everything from `level` up to `stream` (stderr). Replaces what was configured before."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
