"""The archive of events in Valkey: streams that training reads the log from. Knows their keys and entries; sends nothing itself.

Every event lies in the stream `explore:events:{shard}` of its user's shard, at least once: what is sent again is archived again,
and readers count an event id of a user once. The braces keep a stream in one cluster slot; the streams lie in different ones.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from features.actions import Action
from features.exposures import Exposure
from features.user_state import StateEvent
from features.valkey_calls import Command

SHARDS = 16  # part of the layout: another number would look for users where they are not
ARCHIVE_EVENTS = 1_000_000  # kept over all shards, about 130 bytes each
CHUNK = 1_000  # entries that a deletion looks at in one step, while Valkey serves nobody else

# KEYS: a stream. ARGV: where to begin, where to end, how many entries to look at, the user. Returns how many entries were the
# user's, and the last one that was looked at; empty at the end of the stream.
_REMOVE = """
local entries = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])
local removed = 0
for _, entry in ipairs(entries) do
  local fields = entry[2]
  for at = 1, #fields, 2 do
    if fields[at] == 'user_id' and fields[at + 1] == ARGV[4] then
      removed = removed + redis.call('XDEL', KEYS[1], entry[1])
    end
  end
end
return {removed, #entries == tonumber(ARGV[3]) and entries[#entries][1] or ''}
"""


@dataclass(frozen=True)
class FeedbackEvent(StateEvent):
    """Everything that a client says about an event. `time_ms` is on the cascade's clock, `device_time_ms` on the device's."""

    user_id: str
    device_time_ms: int
    value: float | None = None  # DWELL: milliseconds
    request_id: str = ""
    position: int | None = None
    surface: str = ""


@dataclass(frozen=True)
class Cause:
    """What is known of the page that caused an event; nothing if there was none, or its exposure is unknown or expired."""

    bundle_version: str = ""
    arms: Mapping[str, str] = field(default_factory=dict)
    arm_propensity: float | None = None
    propensity: float | None = None  # of the item; None if the page did not show it


UNKNOWN_CAUSE = Cause()


def cause_of(event: FeedbackEvent, exposure: Exposure | None) -> Cause:
    """What an exposure says about an event."""
    if exposure is None:
        return UNKNOWN_CAUSE
    shown_K = np.flatnonzero(exposure.media_id_K == event.media_id)
    propensity = float(exposure.propensity_K[shown_K[0]]) if len(shown_K) else None
    return Cause(exposure.bundle_version, dict(exposure.arms), exposure.arm_propensity, propensity)


def stream_key(shard: int) -> str:
    """The stream of a shard."""
    return f"explore:events:{{{shard}}}"


def shard_of(user_id: str) -> int:
    """Where a user's events are."""
    return zlib.crc32(user_id.encode()) % SHARDS


def archive_command(event: FeedbackEvent, cause: Cause, most: int) -> Command:
    """Adds one entry to the stream of the event's user; the oldest ones beyond about `most` go. What is unknown is left out."""
    fields: dict[str, str | int | float | None] = {
        "user_id": event.user_id,  # first, for the deletion to find it
        "event_id": event.event_id,
        "media_id": event.media_id,
        "author_id": event.author_id,
        "action": int(event.action),
        "time_ms": event.time_ms,
        "device_time_ms": event.device_time_ms,
        "value": event.value,
        "request_id": event.request_id or None,
        "position": event.position,
        "surface": event.surface or None,
        "bundle_version": cause.bundle_version or None,
        "arms": json.dumps(dict(cause.arms), sort_keys=True) if cause.arms else None,
        "arm_propensity": cause.arm_propensity,
        "propensity": cause.propensity,
    }
    known = [each for name, value in fields.items() if value is not None for each in (name, value)]
    return "XADD", stream_key(shard_of(event.user_id)), "MAXLEN", "~", most, "*", *known


def archived(entry: Mapping[bytes, bytes]) -> tuple[FeedbackEvent, Cause]:
    """What `archive_command` wrote."""
    text = {name.decode(): value.decode() for name, value in entry.items()}
    event = FeedbackEvent(
        event_id=text["event_id"],
        media_id=int(text["media_id"]),
        author_id=int(text["author_id"]),
        action=Action(int(text["action"])),
        time_ms=int(text["time_ms"]),
        user_id=text["user_id"],
        device_time_ms=int(text["device_time_ms"]),
        value=_number(text, "value"),
        request_id=text.get("request_id", ""),
        position=int(text["position"]) if "position" in text else None,
        surface=text.get("surface", ""),
    )
    arms = json.loads(text.get("arms", "{}"))
    cause = Cause(text.get("bundle_version", ""), arms, _number(text, "arm_propensity"), _number(text, "propensity"))
    return event, cause


def removal_command(user_id: str, after: str, end: str) -> Command:
    """Removes a user's entries among the next `CHUNK` after one, up to `end`.

    Returns how many, and what to go on after: empty at the end.
    """
    return "EVAL", _REMOVE, 1, stream_key(shard_of(user_id)), f"({after}" if after else "-", end, CHUNK, user_id


def _number(text: Mapping[str, str], name: str) -> float | None:
    return float(text[name]) if name in text else None
