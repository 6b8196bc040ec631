"""User state as the log leaves it, loaded into a Valkey, so that the first page is as personal as the log allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import polars as pl
from valkey import Valkey

from cli.archive import archived_entries
from cli.progress import Report
from features.actions import action_name
from features.event_archive import SHARDS, FeedbackEvent
from features.relations import no_accounts
from features.user_state import LAYOUT, USER_KEYS, append_command, encode, is_state_key, replace_command, user_key
from features.valkey_calls import Command
from training.contexts import ContextLog
from training.datasets import load
from training.datasets.contract import EVENTS
from training.datasets.lineage import mark
from training.datasets.load import Dataset
from training.datasets.merge import SAME_EVENT
from training.event_log import EventLog

MARKER = "explore-dataset"  # says which log the state comes from; no user key looks like it
_UNFINISHED = "unfinished:"
_PIPELINE = 500  # users per round trip


def load_users(client: Valkey, data: Path, progress: Report) -> bool:
    """Fills Valkey with the users of the data set in `data`; leaves it alone and returns False if it holds them already.

    State of another log, or of an older layout, is replaced. What no log has stays: whom users follow, mute and block, where an id
    is taken for the same person, and the archive of events, from which those that this log lacks are counted again. A gateway may
    serve meanwhile. An interrupted load starts over, since the marker is written last.
    """
    own = mark(data)
    marker = f"{LAYOUT}:{own}"
    stored = (client.get(MARKER) or b"").decode()  # type: ignore[union-attr]
    if stored == marker:
        return False
    before = stored.removeprefix(_UNFINISHED)
    client.set(MARKER, _UNFINISHED + before)
    dataset = load(data)
    same_people = before.partition(":")[2] in {own, *(origin.mark for origin in dataset.made_from)}
    _send(client, (replace_command(key, {}) for key in _stored_users(client)))
    _send(client, _states(dataset, same_people, progress))
    for shard in range(SHARDS):
        _send(client, _missing_events(client, shard, dataset))
    client.set(MARKER, marker)
    return True


def _stored_users(client: Valkey) -> Iterator[str]:
    for key in client.scan_iter(match=USER_KEYS, count=_PIPELINE):
        if is_state_key(name := key.decode()):
            yield name


def _states(dataset: Dataset, same_people: bool, progress: Report) -> Iterator[Command]:
    """What the log knows of every user. For the same people, the store knows better whom they follow: it knows of unfollows."""
    everybody = ContextLog(EventLog.from_dataset(dataset), dataset.users).final_states()
    total = len(dataset.users)
    for number, (user_id, state) in enumerate(everybody):
        known = replace(state, relations=no_accounts()) if same_people else state
        if fields := encode(known):
            yield replace_command(user_key(user_id), fields)
        if (number + 1) % _PIPELINE == 0 or number + 1 == total:
            progress(number + 1, max(total, number + 1))


def _missing_events(client: Valkey, shard: int, dataset: Dataset) -> Iterator[Command]:
    """The archived events of one shard that the log lacks, in their order."""
    archived = [event for page in archived_entries(client, shard) for _, (event, _) in page]
    early = [event for event in archived if event.time_ms < dataset.as_of_ms]
    logged = _logged(early, dataset)
    by_user: dict[str, list[FeedbackEvent]] = {}
    for event in archived:
        if _same(event) not in logged:
            by_user.setdefault(event.user_id, []).append(event)
    return (append_command(user_id, events) for user_id, events in by_user.items())


def _logged(events: list[FeedbackEvent], dataset: Dataset) -> set[tuple[str, int, int, str]]:
    """Those that the log has, by what `SAME_EVENT` says."""
    if not events:
        return set()
    types = {column.name: column.dtype for column in EVENTS.columns if column.name in SAME_EVENT}
    frame = pl.DataFrame([_same(event) for event in events], dict.fromkeys(SAME_EVENT), orient="row")
    found = frame.cast(types).join(dataset.events, on=SAME_EVENT, how="semi")  # type: ignore[arg-type]
    return set(found.with_columns(pl.col("event_time").dt.epoch("ms")).select(SAME_EVENT).iter_rows())


def _same(event: FeedbackEvent) -> tuple[str, int, int, str]:
    return event.user_id, event.media_id, event.time_ms, action_name(event.action)


def _send(client: Valkey, commands: Iterable[Command]) -> None:
    left = iter(commands)
    while batch := list(islice(left, _PIPELINE)):
        with client.pipeline(transaction=False) as pipeline:
            for command in batch:
                pipeline.execute_command(*command)
            pipeline.execute()
