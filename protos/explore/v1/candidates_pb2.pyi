from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Candidates(_message.Message):
    __slots__ = ("offsets", "media_id", "author_id", "seed_account_id", "source_index", "score", "sources", "source_paths")
    OFFSETS_FIELD_NUMBER: _ClassVar[int]
    MEDIA_ID_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_INDEX_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_PATHS_FIELD_NUMBER: _ClassVar[int]
    offsets: _containers.RepeatedScalarFieldContainer[int]
    media_id: bytes
    author_id: bytes
    seed_account_id: bytes
    source_index: bytes
    score: bytes
    sources: _containers.RepeatedScalarFieldContainer[str]
    source_paths: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, offsets: _Optional[_Iterable[int]] = ..., media_id: _Optional[bytes] = ..., author_id: _Optional[bytes] = ..., seed_account_id: _Optional[bytes] = ..., source_index: _Optional[bytes] = ..., score: _Optional[bytes] = ..., sources: _Optional[_Iterable[str]] = ..., source_paths: _Optional[_Iterable[str]] = ...) -> None: ...
