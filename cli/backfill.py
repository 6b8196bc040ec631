"""User state as the log leaves it, loaded into an empty Valkey, so that the first page is as personal as the log allows."""

from __future__ import annotations

import hashlib
from itertools import islice
from pathlib import Path

from valkey import Valkey

from cli.archive import archived_entries
from cli.progress import Report
from features.event_archive import SHARDS, FeedbackEvent
from features.user_state import LAYOUT, USER_KEYS, append_command, encode, user_key
from training.contexts import ContextLog
from training.datasets import load
from training.datasets.contract import INFO_FILE
from training.event_log import EventLog

MARKER = "explore-dataset"  # says which log the state comes from; no user key looks like it
_PIPELINE = 500  # users per round trip


def load_users(client: Valkey, data: Path, progress: Report) -> bool:
    """Fills Valkey with the users of the data set in `data`; leaves it alone and returns False if it holds them already.

    State of another log is dropped first: its users are other people. So is state of an older layout, which lacks what the log
    could say. The archive of events stays, since nobody may have exported it yet; what users did after the end of the log is
    counted again from there. An interrupted load starts over, since the marker is written last.
    """
    mark = f"{LAYOUT}:{hashlib.sha256((data / INFO_FILE).read_bytes()).hexdigest()}"
    if client.get(MARKER) == mark.encode():
        return False
    client.delete(MARKER)
    _drop_users(client)
    dataset = load(data)
    everybody = ContextLog(EventLog.from_dataset(dataset), dataset.users).final_states()
    done, total = 0, len(dataset.users)
    while batch := list(islice(everybody, _PIPELINE)):
        with client.pipeline(transaction=False) as pipeline:
            for user_id, state in batch:
                if fields := encode(state):
                    pipeline.hset(user_key(user_id), mapping=fields)
            pipeline.execute()
        done += len(batch)
        progress(done, max(total, done))
    for shard in range(SHARDS):
        _count_archived(client, shard, dataset.as_of_ms)
    client.set(MARKER, mark)
    return True


def _drop_users(client: Valkey) -> None:
    keys = client.scan_iter(match=USER_KEYS, count=_PIPELINE)
    while batch := list(islice(keys, _PIPELINE)):
        client.unlink(*batch)


def _count_archived(client: Valkey, shard: int, since_ms: int) -> None:
    for entries in archived_entries(client, shard):
        by_user: dict[str, list[FeedbackEvent]] = {}
        for _, (event, _) in entries:
            if event.time_ms >= since_ms:
                by_user.setdefault(event.user_id, []).append(event)
        with client.pipeline(transaction=False) as pipeline:
            for user_id, events in by_user.items():
                pipeline.execute_command(*append_command(user_id, events))
            pipeline.execute()
