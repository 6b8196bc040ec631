"""What becomes of a record, whoever writes it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from bundles.json_lines import JsonLines
from serving import logs


class InACall(JsonLines):
    def context(self) -> Mapping[str, Any]:
        return {"request_id": "r-1"}


def record(**fields: Any) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "a.b", "levelname": "INFO", "msg": "got %d", "args": (5,), **fields})


def test_values_that_json_does_not_know_and_lines_within_values_stay_one_line() -> None:
    text = JsonLines().format(record(path={1}, text="two\nlines", nothing=None))
    assert "\n" not in text
    line = json.loads(text)
    assert (line["path"], line["text"], line["nothing"]) == ("{1}", "two\nlines", None)
    assert (line["message"], line["level"], line["logger"]) == ("got 5", "INFO", "a.b")


def test_the_context_stands_beside_the_message_and_what_was_passed_wins() -> None:
    assert json.loads(InACall().format(record()))["request_id"] == "r-1"
    assert json.loads(InACall().format(record(request_id="r-2")))["request_id"] == "r-2"


def test_outside_of_a_call_a_service_and_a_fetcher_write_the_same() -> None:
    same = record(bytes=5)
    assert logs.JsonLines().format(same) == JsonLines().format(same)
