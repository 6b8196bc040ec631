from protos.explore.v1 import candidates_pb2 as _candidates_pb2
from protos.explore.v1 import user_context_pb2 as _user_context_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RetrieveRequest(_message.Message):
    __slots__ = ("request_id", "users", "counts", "bundle_version", "queries", "unmixed")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    USERS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    UNMIXED_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    users: _containers.RepeatedCompositeFieldContainer[_user_context_pb2.UserContext]
    counts: _containers.RepeatedScalarFieldContainer[int]
    bundle_version: str
    queries: _containers.RepeatedScalarFieldContainer[str]
    unmixed: bool
    def __init__(self, request_id: _Optional[str] = ..., users: _Optional[_Iterable[_Union[_user_context_pb2.UserContext, _Mapping]]] = ..., counts: _Optional[_Iterable[int]] = ..., bundle_version: _Optional[str] = ..., queries: _Optional[_Iterable[str]] = ..., unmixed: _Optional[bool] = ...) -> None: ...

class RetrieveResponse(_message.Message):
    __slots__ = ("candidates", "bundle_version", "reports", "elapsed_us", "shard_index", "shard_count", "unmixed")
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_US_FIELD_NUMBER: _ClassVar[int]
    SHARD_INDEX_FIELD_NUMBER: _ClassVar[int]
    SHARD_COUNT_FIELD_NUMBER: _ClassVar[int]
    UNMIXED_FIELD_NUMBER: _ClassVar[int]
    candidates: _candidates_pb2.Candidates
    bundle_version: str
    reports: _containers.RepeatedCompositeFieldContainer[SourcingReport]
    elapsed_us: int
    shard_index: int
    shard_count: int
    unmixed: Unmixed
    def __init__(self, candidates: _Optional[_Union[_candidates_pb2.Candidates, _Mapping]] = ..., bundle_version: _Optional[str] = ..., reports: _Optional[_Iterable[_Union[SourcingReport, _Mapping]]] = ..., elapsed_us: _Optional[int] = ..., shard_index: _Optional[int] = ..., shard_count: _Optional[int] = ..., unmixed: _Optional[_Union[Unmixed, _Mapping]] = ...) -> None: ...

class Unmixed(_message.Message):
    __slots__ = ("lists", "list_index", "key", "goes_on", "recipe", "group", "tie")
    LISTS_FIELD_NUMBER: _ClassVar[int]
    LIST_INDEX_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    GOES_ON_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    TIE_FIELD_NUMBER: _ClassVar[int]
    lists: int
    list_index: bytes
    key: bytes
    goes_on: bytes
    recipe: Recipe
    group: bytes
    tie: bytes
    def __init__(self, lists: _Optional[int] = ..., list_index: _Optional[bytes] = ..., key: _Optional[bytes] = ..., goes_on: _Optional[bytes] = ..., recipe: _Optional[_Union[Recipe, _Mapping]] = ..., group: _Optional[bytes] = ..., tie: _Optional[bytes] = ...) -> None: ...

class Recipe(_message.Message):
    __slots__ = ("most", "list", "mix", "union", "fallback", "spread")
    MOST_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    MIX_FIELD_NUMBER: _ClassVar[int]
    UNION_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    most: int
    list: int
    mix: MixRecipe
    union: UnionRecipe
    fallback: FallbackRecipe
    spread: SpreadRecipe
    def __init__(self, most: _Optional[int] = ..., list: _Optional[int] = ..., mix: _Optional[_Union[MixRecipe, _Mapping]] = ..., union: _Optional[_Union[UnionRecipe, _Mapping]] = ..., fallback: _Optional[_Union[FallbackRecipe, _Mapping]] = ..., spread: _Optional[_Union[SpreadRecipe, _Mapping]] = ...) -> None: ...

class MixRecipe(_message.Message):
    __slots__ = ("parts", "weights", "size")
    PARTS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    parts: _containers.RepeatedCompositeFieldContainer[Recipe]
    weights: _containers.RepeatedScalarFieldContainer[float]
    size: int
    def __init__(self, parts: _Optional[_Iterable[_Union[Recipe, _Mapping]]] = ..., weights: _Optional[_Iterable[float]] = ..., size: _Optional[int] = ...) -> None: ...

class UnionRecipe(_message.Message):
    __slots__ = ("parts",)
    PARTS_FIELD_NUMBER: _ClassVar[int]
    parts: _containers.RepeatedCompositeFieldContainer[Recipe]
    def __init__(self, parts: _Optional[_Iterable[_Union[Recipe, _Mapping]]] = ...) -> None: ...

class SpreadRecipe(_message.Message):
    __slots__ = ("part", "max_per")
    PART_FIELD_NUMBER: _ClassVar[int]
    MAX_PER_FIELD_NUMBER: _ClassVar[int]
    part: Recipe
    max_per: int
    def __init__(self, part: _Optional[_Union[Recipe, _Mapping]] = ..., max_per: _Optional[int] = ...) -> None: ...

class FallbackRecipe(_message.Message):
    __slots__ = ("parts", "at_least")
    PARTS_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_FIELD_NUMBER: _ClassVar[int]
    parts: _containers.RepeatedCompositeFieldContainer[Recipe]
    at_least: int
    def __init__(self, parts: _Optional[_Iterable[_Union[Recipe, _Mapping]]] = ..., at_least: _Optional[int] = ...) -> None: ...

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
