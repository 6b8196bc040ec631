from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

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
