from protos.explore.v1 import candidates_pb2 as _candidates_pb2
from protos.explore.v1 import user_context_pb2 as _user_context_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RankRequest(_message.Message):
    __slots__ = ("request_id", "users", "candidates", "weights", "keep", "bundle_version", "with_features")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    USERS_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    WITH_FEATURES_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    users: _containers.RepeatedCompositeFieldContainer[_user_context_pb2.UserContext]
    candidates: _candidates_pb2.Candidates
    weights: _containers.RepeatedCompositeFieldContainer[ValueWeights]
    keep: _containers.RepeatedScalarFieldContainer[int]
    bundle_version: str
    with_features: bool
    def __init__(self, request_id: _Optional[str] = ..., users: _Optional[_Iterable[_Union[_user_context_pb2.UserContext, _Mapping]]] = ..., candidates: _Optional[_Union[_candidates_pb2.Candidates, _Mapping]] = ..., weights: _Optional[_Iterable[_Union[ValueWeights, _Mapping]]] = ..., keep: _Optional[_Iterable[int]] = ..., bundle_version: _Optional[str] = ..., with_features: _Optional[bool] = ...) -> None: ...

class ValueWeights(_message.Message):
    __slots__ = ("by_task",)
    class ByTaskEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    BY_TASK_FIELD_NUMBER: _ClassVar[int]
    by_task: _containers.ScalarMap[str, float]
    def __init__(self, by_task: _Optional[_Mapping[str, float]] = ...) -> None: ...

class RankResponse(_message.Message):
    __slots__ = ("offsets", "row", "score", "tasks", "task_probability", "bundle_version", "timing", "features", "feature_schema")
    OFFSETS_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    TASK_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    FEATURE_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    offsets: _containers.RepeatedScalarFieldContainer[int]
    row: bytes
    score: bytes
    tasks: _containers.RepeatedScalarFieldContainer[str]
    task_probability: bytes
    bundle_version: str
    timing: RankTiming
    features: bytes
    feature_schema: str
    def __init__(self, offsets: _Optional[_Iterable[int]] = ..., row: _Optional[bytes] = ..., score: _Optional[bytes] = ..., tasks: _Optional[_Iterable[str]] = ..., task_probability: _Optional[bytes] = ..., bundle_version: _Optional[str] = ..., timing: _Optional[_Union[RankTiming, _Mapping]] = ..., features: _Optional[bytes] = ..., feature_schema: _Optional[str] = ...) -> None: ...

class RankTiming(_message.Message):
    __slots__ = ("features_us", "model_us", "total_us")
    FEATURES_US_FIELD_NUMBER: _ClassVar[int]
    MODEL_US_FIELD_NUMBER: _ClassVar[int]
    TOTAL_US_FIELD_NUMBER: _ClassVar[int]
    features_us: int
    model_us: int
    total_us: int
    def __init__(self, features_us: _Optional[int] = ..., model_us: _Optional[int] = ..., total_us: _Optional[int] = ...) -> None: ...
