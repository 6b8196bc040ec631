"""What the commands of this package say while they work: readable lines on a terminal, one JSON object a line elsewhere."""

from __future__ import annotations

import logging
from typing import TextIO

from bundles.json_lines import JsonLines, details


class _Readable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        told = " ".join(f"{name}={value}" for name, value in details(record).items())
        return f"{record.getMessage()} {told}".rstrip()


def configure(stream: TextIO) -> None:
    """Sends what this package logs to `stream`."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Readable() if stream.isatty() else JsonLines())
    logger = logging.getLogger(__package__)
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
