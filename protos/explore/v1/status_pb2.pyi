from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class GetStatusRequest(_message.Message):
    __slots__ = ("pinned_versions",)
    PINNED_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    pinned_versions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, pinned_versions: _Optional[_Iterable[str]] = ...) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("service", "software_version", "bundle_version", "started_at_ms", "not_ready_reason", "note", "bundle_versions")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_VERSION_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    NOT_READY_REASON_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    service: str
    software_version: str
    bundle_version: str
    started_at_ms: int
    not_ready_reason: str
    note: str
    bundle_versions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, service: _Optional[str] = ..., software_version: _Optional[str] = ..., bundle_version: _Optional[str] = ..., started_at_ms: _Optional[int] = ..., not_ready_reason: _Optional[str] = ..., note: _Optional[str] = ..., bundle_versions: _Optional[_Iterable[str]] = ...) -> None: ...
