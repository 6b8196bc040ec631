from protos.explore.v1 import candidates_pb2 as _candidates_pb2
from protos.explore.v1 import user_context_pb2 as _user_context_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RetrieveRequest(_message.Message):
    __slots__ = ("request_id", "users", "counts", "bundle_version", "queries")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    USERS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    users: _containers.RepeatedCompositeFieldContainer[_user_context_pb2.UserContext]
    counts: _containers.RepeatedScalarFieldContainer[int]
    bundle_version: str
    queries: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, request_id: _Optional[str] = ..., users: _Optional[_Iterable[_Union[_user_context_pb2.UserContext, _Mapping]]] = ..., counts: _Optional[_Iterable[int]] = ..., bundle_version: _Optional[str] = ..., queries: _Optional[_Iterable[str]] = ...) -> None: ...

class RetrieveResponse(_message.Message):
    __slots__ = ("candidates", "bundle_version", "reports", "elapsed_us")
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_US_FIELD_NUMBER: _ClassVar[int]
    candidates: _candidates_pb2.Candidates
    bundle_version: str
    reports: _containers.RepeatedCompositeFieldContainer[SourcingReport]
    elapsed_us: int
    def __init__(self, candidates: _Optional[_Union[_candidates_pb2.Candidates, _Mapping]] = ..., bundle_version: _Optional[str] = ..., reports: _Optional[_Iterable[_Union[SourcingReport, _Mapping]]] = ..., elapsed_us: _Optional[int] = ...) -> None: ...

class SourcingReport(_message.Message):
    __slots__ = ("sources",)
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    sources: _containers.RepeatedCompositeFieldContainer[SourceReport]
    def __init__(self, sources: _Optional[_Iterable[_Union[SourceReport, _Mapping]]] = ...) -> None: ...

class SourceReport(_message.Message):
    __slots__ = ("source", "proposed", "kept", "dropped", "path")
    class DroppedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    PROPOSED_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    source: str
    proposed: int
    kept: int
    dropped: _containers.ScalarMap[str, int]
    path: str
    def __init__(self, source: _Optional[str] = ..., proposed: _Optional[int] = ..., kept: _Optional[int] = ..., dropped: _Optional[_Mapping[str, int]] = ..., path: _Optional[str] = ...) -> None: ...
