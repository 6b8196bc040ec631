"""The stored form of an exposure: a line of JSON, then its columns as little-endian arrays. Shapes: K items of the page."""

from __future__ import annotations

import json

import numpy as np

from features.exposures import Exposure

_MEDIA, _POSITION, _PROPENSITY = np.dtype("<i8"), np.dtype("<i4"), np.dtype("<f8")


def encode(exposure: Exposure) -> bytes:
    """What `decode` turns back into `exposure`. Propensities that are all 1, as on most pages, take no room."""
    certain = bool(np.all(exposure.propensity_K == 1))
    head = [
        len(exposure.media_id_K),
        certain,
        exposure.request_id,
        exposure.user_id,
        exposure.time_ms,
        exposure.surface,
        dict(exposure.arms),
        exposure.arm_propensity,
        exposure.bundle_version,
    ]
    columns = exposure.media_id_K.astype(_MEDIA).tobytes() + exposure.position_K.astype(_POSITION).tobytes()
    if not certain:
        columns += exposure.propensity_K.astype(_PROPENSITY).tobytes()
    return json.dumps(head, separators=(",", ":")).encode() + b"\n" + columns  # JSON itself holds no line break


def decode(record: bytes) -> Exposure:
    """The exposure of a record that `encode` made."""
    line, columns = record.split(b"\n", 1)
    count, certain, request_id, user_id, time_ms, surface, arms, arm_propensity, bundle_version = json.loads(line)
    media_K = np.frombuffer(columns, _MEDIA, count)
    position_K = np.frombuffer(columns, _POSITION, count, media_K.nbytes)
    offset = media_K.nbytes + position_K.nbytes
    propensity_K = np.ones(count) if certain else np.frombuffer(columns, _PROPENSITY, count, offset)
    return Exposure(
        request_id=request_id,
        user_id=user_id,
        time_ms=time_ms,
        surface=surface,
        arms=arms,
        arm_propensity=arm_propensity,
        bundle_version=bundle_version,
        media_id_K=media_K.astype(np.int64),
        position_K=position_K.astype(np.int64),
        propensity_K=propensity_K.astype(np.float64),
    )
