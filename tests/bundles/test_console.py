"""What people read and what machines read."""

from __future__ import annotations

import io
import json
import logging

from bundles import console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_lines_and_anything_else_json() -> None:
    for stream in (Terminal(), io.StringIO()):
        console.configure(stream)
        logging.getLogger("bundles.fetch").info("downloaded %s", "a", extra={"bytes": 5, "file": "ä"})
        text = stream.getvalue()
        assert text.count("\n") == 1
        if isinstance(stream, Terminal):
            assert text == "downloaded a bytes=5 file=ä\n"
        else:
            line = json.loads(text)
            assert line.pop("time").endswith("+00:00")
            assert line == {
                "level": "INFO",
                "logger": "bundles.fetch",
                "message": "downloaded a",
                "bytes": 5,
                "file": "ä",
            }
