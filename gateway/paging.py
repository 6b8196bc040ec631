"""Page tokens: what the next page must know about the ones before. Opaque to clients, checked on return.

Layout (little-endian), in URL-safe base64: version u8, CRC-32 u32 over the rest, user check u32, next position u32, shown media
int64 each. The token lists what the feed has shown, so that page 2 repeats nothing even when the state store has lost page 1.
The checks catch broken, cut and mixed-up tokens; they are no protection against forgery, which would only hide media from the
forger's own feed.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.errors import InvalidArgument

_VERSION = 1
_HEAD = struct.Struct("<BI")
_BODY = struct.Struct("<II")
MAX_SHOWN = 2_000  # a feed ends here: 80 pages of 25
MAX_TOKEN_CHARS = 32_000  # more than MAX_SHOWN ids take


@dataclass(frozen=True)
class Cursor:
    """Where a feed stands: the position that the next item gets, and the media shown so far."""

    next_position: int
    shown_media_id_S: NDArray[np.int64]


FIRST_PAGE = Cursor(0, np.empty(0, dtype=np.int64))


def encode(user_id: str, cursor: Cursor) -> str:
    """The token that continues `user_id`'s feed after `cursor`; empty when the feed is at its end (MAX_SHOWN)."""
    if len(cursor.shown_media_id_S) >= MAX_SHOWN:
        return ""
    body = (
        _BODY.pack(zlib.crc32(user_id.encode()), cursor.next_position) + cursor.shown_media_id_S.astype("<i8").tobytes()
    )
    return base64.urlsafe_b64encode(_HEAD.pack(_VERSION, zlib.crc32(body)) + body).decode()


def decode(user_id: str, token: str) -> Cursor:
    """The cursor in `token`; the first page for an empty one. Raises InvalidArgument for page_token."""
    if not token:
        return FIRST_PAGE
    try:
        raw = base64.b64decode(token[: MAX_TOKEN_CHARS + 1].encode(), altchars=b"-_", validate=True)
        version, checksum = _HEAD.unpack_from(raw)
        body = raw[_HEAD.size :]
        user_check, next_position = _BODY.unpack_from(body)
        shown_S = np.frombuffer(body, dtype="<i8", offset=_BODY.size)
    except (binascii.Error, struct.error, ValueError):
        raise _broken("is not a token that this service issued") from None
    # Base64 ignores the last character's spare bits; a token that differs in them is not the one that was issued.
    if version != _VERSION or checksum != zlib.crc32(body) or base64.urlsafe_b64encode(raw).decode() != token:
        raise _broken("is damaged, or from another version of this service")
    # The checks can be forged, and then the content may be what no feed can be.
    if next_position > MAX_SHOWN or len(shown_S) > MAX_SHOWN or (shown_S <= 0).any():
        raise _broken("lists what no feed of this service has shown")
    if user_check != zlib.crc32(user_id.encode()):
        raise _broken("belongs to another user_id")
    return Cursor(int(next_position), shown_S.astype(np.int64))


def _broken(reason: str) -> InvalidArgument:
    return InvalidArgument("page_token", f"{reason}; pass next_page_token of the page before, or leave it empty")
