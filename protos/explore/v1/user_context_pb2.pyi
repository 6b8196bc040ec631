from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class UserContext(_message.Message):
    __slots__ = ("user_id", "request_time_ms", "surface", "history_media_id", "history_action", "history_time_ms", "action_counts", "recent_counts", "registered_at_ms", "n_following", "n_followers", "segment", "seen_media_id", "account_id", "relation_account_id", "relation_kind")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    SURFACE_FIELD_NUMBER: _ClassVar[int]
    HISTORY_MEDIA_ID_FIELD_NUMBER: _ClassVar[int]
    HISTORY_ACTION_FIELD_NUMBER: _ClassVar[int]
    HISTORY_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    ACTION_COUNTS_FIELD_NUMBER: _ClassVar[int]
    RECENT_COUNTS_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    N_FOLLOWING_FIELD_NUMBER: _ClassVar[int]
    N_FOLLOWERS_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    SEEN_MEDIA_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    RELATION_ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    RELATION_KIND_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    request_time_ms: int
    surface: str
    history_media_id: bytes
    history_action: bytes
    history_time_ms: bytes
    action_counts: _containers.RepeatedScalarFieldContainer[int]
    recent_counts: bytes
    registered_at_ms: int
    n_following: int
    n_followers: int
    segment: str
    seen_media_id: bytes
    account_id: int
    relation_account_id: bytes
    relation_kind: bytes
    def __init__(self, user_id: _Optional[str] = ..., request_time_ms: _Optional[int] = ..., surface: _Optional[str] = ..., history_media_id: _Optional[bytes] = ..., history_action: _Optional[bytes] = ..., history_time_ms: _Optional[bytes] = ..., action_counts: _Optional[_Iterable[int]] = ..., recent_counts: _Optional[bytes] = ..., registered_at_ms: _Optional[int] = ..., n_following: _Optional[int] = ..., n_followers: _Optional[int] = ..., segment: _Optional[str] = ..., seen_media_id: _Optional[bytes] = ..., account_id: _Optional[int] = ..., relation_account_id: _Optional[bytes] = ..., relation_kind: _Optional[bytes] = ...) -> None: ...
