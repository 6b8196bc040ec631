"""The archive of events of a running Valkey, read page by page. Knows the streams; knows nothing of what events are for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import valkey.exceptions
from valkey import Valkey

from features.event_archive import Cause, FeedbackEvent, archived, stream_key

PAGE = 2_000  # entries per round trip
_NO_STREAM = "no such key"  # Valkey's words, without the ERR in front

Entry = tuple[str, tuple[FeedbackEvent, Cause]]  # the id in the stream, and what it says


@dataclass(frozen=True)
class ShardEnd:
    """How far a shard reaches: its last entry's id, and how many entries were ever added."""

    last: str = "0-0"
    added: int = 0


def shard_end(client: Valkey, shard: int) -> ShardEnd:
    """Where a shard ends now. Raises ValkeyError if it cannot be asked."""
    try:
        info: Any = client.xinfo_stream(stream_key(shard))
    except valkey.exceptions.ResponseError as error:
        if str(error) != _NO_STREAM:  # such as a user who may not ask: to call that empty would hide what is there
            raise
        return ShardEnd()  # nothing was ever added
    return ShardEnd(info["last-generated-id"].decode(), int(info["entries-added"]))


def archived_entries(client: Valkey, shard: int, after: str = "0-0", end: str = "+") -> Iterator[list[Entry]]:
    """The entries of a shard behind `after`, up to `end`, oldest first, a page at a time."""
    while True:
        page: Any = client.xrange(stream_key(shard), f"({after}", end, PAGE)
        if not page:
            return
        yield [(entry_id.decode(), archived(fields)) for entry_id, fields in page]
        after = page[-1][0].decode()


def order(entry_id: str) -> tuple[int, int]:
    """Ids of entries compare by this."""
    time_ms, sequence = entry_id.split("-")
    return int(time_ms), int(sequence)
