"""User state as the log leaves it, loaded into an empty Valkey, so that the first page is as personal as the log allows."""

from __future__ import annotations

import hashlib
from itertools import islice
from pathlib import Path

from valkey import Valkey

from cli.progress import Report
from features.user_state import LAYOUT, encode, user_key
from training.contexts import ContextLog
from training.datasets import load
from training.datasets.contract import INFO_FILE
from training.event_log import EventLog

MARKER = "explore-dataset"  # says which log the state comes from; no user key looks like it
_PIPELINE = 500  # users per round trip


def load_users(client: Valkey, data: Path, progress: Report) -> bool:
    """Fills Valkey with the users of the data set in `data`; leaves it alone and returns False if it holds them already.

    State of another log is dropped first: its users are other people. So is state of an older layout, which lacks what the log
    could say. An interrupted load starts over, since the marker is written last.
    """
    mark = f"{LAYOUT}:{hashlib.sha256((data / INFO_FILE).read_bytes()).hexdigest()}"
    if client.get(MARKER) == mark.encode():
        return False
    client.flushdb()
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
    client.set(MARKER, mark)
    return True
