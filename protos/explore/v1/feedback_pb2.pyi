from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RefusalReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REFUSAL_REASON_UNSPECIFIED: _ClassVar[RefusalReason]
    REFUSAL_REASON_INVALID: _ClassVar[RefusalReason]
    REFUSAL_REASON_UNAVAILABLE: _ClassVar[RefusalReason]

class RelationKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RELATION_KIND_UNSPECIFIED: _ClassVar[RelationKind]
    RELATION_KIND_FOLLOWED: _ClassVar[RelationKind]
    RELATION_KIND_MUTED: _ClassVar[RelationKind]
    RELATION_KIND_BLOCKED: _ClassVar[RelationKind]

class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACTION_UNSPECIFIED: _ClassVar[Action]
    ACTION_IMPRESSION: _ClassVar[Action]
    ACTION_CLICK: _ClassVar[Action]
    ACTION_LONG_VIEW: _ClassVar[Action]
    ACTION_LIKE: _ClassVar[Action]
    ACTION_SAVE: _ClassVar[Action]
    ACTION_SHARE: _ClassVar[Action]
    ACTION_COMMENT: _ClassVar[Action]
    ACTION_FOLLOW: _ClassVar[Action]
    ACTION_DWELL: _ClassVar[Action]
    ACTION_HIDE: _ClassVar[Action]
    ACTION_REPORT: _ClassVar[Action]
REFUSAL_REASON_UNSPECIFIED: RefusalReason
REFUSAL_REASON_INVALID: RefusalReason
REFUSAL_REASON_UNAVAILABLE: RefusalReason
RELATION_KIND_UNSPECIFIED: RelationKind
RELATION_KIND_FOLLOWED: RelationKind
RELATION_KIND_MUTED: RelationKind
RELATION_KIND_BLOCKED: RelationKind
ACTION_UNSPECIFIED: Action
ACTION_IMPRESSION: Action
ACTION_CLICK: Action
ACTION_LONG_VIEW: Action
ACTION_LIKE: Action
ACTION_SAVE: Action
ACTION_SHARE: Action
ACTION_COMMENT: Action
ACTION_FOLLOW: Action
ACTION_DWELL: Action
ACTION_HIDE: Action
ACTION_REPORT: Action

class LogEventsRequest(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("event_id", "user_id", "media_id", "author_id", "action", "event_time_ms", "value", "request_id", "position", "surface")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    MEDIA_ID_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    SURFACE_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    user_id: str
    media_id: int
    author_id: int
    action: Action
    event_time_ms: int
    value: float
    request_id: str
    position: int
    surface: str
    def __init__(self, event_id: _Optional[str] = ..., user_id: _Optional[str] = ..., media_id: _Optional[int] = ..., author_id: _Optional[int] = ..., action: _Optional[_Union[Action, str]] = ..., event_time_ms: _Optional[int] = ..., value: _Optional[float] = ..., request_id: _Optional[str] = ..., position: _Optional[int] = ..., surface: _Optional[str] = ...) -> None: ...

class LogEventsResponse(_message.Message):
    __slots__ = ("accepted", "duplicates")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    accepted: int
    duplicates: int
    def __init__(self, accepted: _Optional[int] = ..., duplicates: _Optional[int] = ...) -> None: ...

class StreamEventsRequest(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ...) -> None: ...

class StreamEventsResponse(_message.Message):
    __slots__ = ("message", "accepted", "duplicates", "refusal")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    message: int
    accepted: int
    duplicates: int
    refusal: Refusal
    def __init__(self, message: _Optional[int] = ..., accepted: _Optional[int] = ..., duplicates: _Optional[int] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("reason", "detail")
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    reason: RefusalReason
    detail: str
    def __init__(self, reason: _Optional[_Union[RefusalReason, str]] = ..., detail: _Optional[str] = ...) -> None: ...

class DeleteUserRequest(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class DeleteUserResponse(_message.Message):
    __slots__ = ("state_fields", "event_ids", "exposures", "archived_events", "funnel_rows")
    STATE_FIELDS_FIELD_NUMBER: _ClassVar[int]
    EVENT_IDS_FIELD_NUMBER: _ClassVar[int]
    EXPOSURES_FIELD_NUMBER: _ClassVar[int]
    ARCHIVED_EVENTS_FIELD_NUMBER: _ClassVar[int]
    FUNNEL_ROWS_FIELD_NUMBER: _ClassVar[int]
    state_fields: int
    event_ids: int
    exposures: int
    archived_events: int
    funnel_rows: int
    def __init__(self, state_fields: _Optional[int] = ..., event_ids: _Optional[int] = ..., exposures: _Optional[int] = ..., archived_events: _Optional[int] = ..., funnel_rows: _Optional[int] = ...) -> None: ...

class SetRelationsRequest(_message.Message):
    __slots__ = ("changes",)
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[RelationChange]
    def __init__(self, changes: _Optional[_Iterable[_Union[RelationChange, _Mapping]]] = ...) -> None: ...

class RelationChange(_message.Message):
    __slots__ = ("user_id", "account_id", "kind", "removed")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    account_id: int
    kind: RelationKind
    removed: bool
    def __init__(self, user_id: _Optional[str] = ..., account_id: _Optional[int] = ..., kind: _Optional[_Union[RelationKind, str]] = ..., removed: _Optional[bool] = ...) -> None: ...

class SetRelationsResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
