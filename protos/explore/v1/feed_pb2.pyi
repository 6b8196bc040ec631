from protos.explore.v1 import retrieval_pb2 as _retrieval_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DegradationReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEGRADATION_REASON_UNSPECIFIED: _ClassVar[DegradationReason]
    DEGRADATION_REASON_DEADLINE: _ClassVar[DegradationReason]
    DEGRADATION_REASON_UNAVAILABLE: _ClassVar[DegradationReason]
    DEGRADATION_REASON_ERROR: _ClassVar[DegradationReason]
    DEGRADATION_REASON_UNDER_DELIVERED: _ClassVar[DegradationReason]
    DEGRADATION_REASON_BUNDLE_NOT_HELD: _ClassVar[DegradationReason]
    DEGRADATION_REASON_PARTIAL: _ClassVar[DegradationReason]
DEGRADATION_REASON_UNSPECIFIED: DegradationReason
DEGRADATION_REASON_DEADLINE: DegradationReason
DEGRADATION_REASON_UNAVAILABLE: DegradationReason
DEGRADATION_REASON_ERROR: DegradationReason
DEGRADATION_REASON_UNDER_DELIVERED: DegradationReason
DEGRADATION_REASON_BUNDLE_NOT_HELD: DegradationReason
DEGRADATION_REASON_PARTIAL: DegradationReason

class GetFeedRequest(_message.Message):
    __slots__ = ("user_id", "page_size", "page_token", "surface", "debug", "preview")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SURFACE_FIELD_NUMBER: _ClassVar[int]
    DEBUG_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    page_size: int
    page_token: str
    surface: str
    debug: bool
    preview: bool
    def __init__(self, user_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., surface: _Optional[str] = ..., debug: _Optional[bool] = ..., preview: _Optional[bool] = ...) -> None: ...

class GetFeedResponse(_message.Message):
    __slots__ = ("items", "request_id", "arm", "bundle_version", "degradations", "next_page_token", "cold_start", "debug", "arms", "arm_propensity", "arms_excluded")
    class ArmsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    DEGRADATIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    COLD_START_FIELD_NUMBER: _ClassVar[int]
    DEBUG_FIELD_NUMBER: _ClassVar[int]
    ARMS_FIELD_NUMBER: _ClassVar[int]
    ARM_PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    ARMS_EXCLUDED_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[FeedItem]
    request_id: str
    arm: str
    bundle_version: str
    degradations: _containers.RepeatedCompositeFieldContainer[Degradation]
    next_page_token: str
    cold_start: bool
    debug: FeedDebug
    arms: _containers.ScalarMap[str, str]
    arm_propensity: float
    arms_excluded: bool
    def __init__(self, items: _Optional[_Iterable[_Union[FeedItem, _Mapping]]] = ..., request_id: _Optional[str] = ..., arm: _Optional[str] = ..., bundle_version: _Optional[str] = ..., degradations: _Optional[_Iterable[_Union[Degradation, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., cold_start: _Optional[bool] = ..., debug: _Optional[_Union[FeedDebug, _Mapping]] = ..., arms: _Optional[_Mapping[str, str]] = ..., arm_propensity: _Optional[float] = ..., arms_excluded: _Optional[bool] = ...) -> None: ...

class FeedItem(_message.Message):
    __slots__ = ("media_id", "author_id", "position", "value", "diversity_factor", "task_probabilities", "source", "seed_account_id", "source_path", "propensity", "module")
    MEDIA_ID_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    DIVERSITY_FACTOR_FIELD_NUMBER: _ClassVar[int]
    TASK_PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SEED_ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_PATH_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    MODULE_FIELD_NUMBER: _ClassVar[int]
    media_id: int
    author_id: int
    position: int
    value: float
    diversity_factor: float
    task_probabilities: _containers.RepeatedCompositeFieldContainer[TaskProbability]
    source: str
    seed_account_id: int
    source_path: str
    propensity: float
    module: str
    def __init__(self, media_id: _Optional[int] = ..., author_id: _Optional[int] = ..., position: _Optional[int] = ..., value: _Optional[float] = ..., diversity_factor: _Optional[float] = ..., task_probabilities: _Optional[_Iterable[_Union[TaskProbability, _Mapping]]] = ..., source: _Optional[str] = ..., seed_account_id: _Optional[int] = ..., source_path: _Optional[str] = ..., propensity: _Optional[float] = ..., module: _Optional[str] = ...) -> None: ...

class TaskProbability(_message.Message):
    __slots__ = ("task", "probability")
    TASK_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    task: str
    probability: float
    def __init__(self, task: _Optional[str] = ..., probability: _Optional[float] = ...) -> None: ...

class Degradation(_message.Message):
    __slots__ = ("stage", "reason", "detail")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    stage: str
    reason: DegradationReason
    detail: str
    def __init__(self, stage: _Optional[str] = ..., reason: _Optional[_Union[DegradationReason, str]] = ..., detail: _Optional[str] = ...) -> None: ...

class FeedDebug(_message.Message):
    __slots__ = ("stages", "candidates", "sources", "value_weights")
    class ValueWeightsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    STAGES_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    VALUE_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    stages: _containers.RepeatedCompositeFieldContainer[StageDebug]
    candidates: _containers.RepeatedCompositeFieldContainer[CandidateDebug]
    sources: _containers.RepeatedCompositeFieldContainer[_retrieval_pb2.SourceReport]
    value_weights: _containers.ScalarMap[str, float]
    def __init__(self, stages: _Optional[_Iterable[_Union[StageDebug, _Mapping]]] = ..., candidates: _Optional[_Iterable[_Union[CandidateDebug, _Mapping]]] = ..., sources: _Optional[_Iterable[_Union[_retrieval_pb2.SourceReport, _Mapping]]] = ..., value_weights: _Optional[_Mapping[str, float]] = ...) -> None: ...

class StageDebug(_message.Message):
    __slots__ = ("stage", "candidates_in", "candidates_out", "elapsed_us", "cutoff", "degraded")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_IN_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_OUT_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_US_FIELD_NUMBER: _ClassVar[int]
    CUTOFF_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    stage: str
    candidates_in: int
    candidates_out: int
    elapsed_us: int
    cutoff: float
    degraded: bool
    def __init__(self, stage: _Optional[str] = ..., candidates_in: _Optional[int] = ..., candidates_out: _Optional[int] = ..., elapsed_us: _Optional[int] = ..., cutoff: _Optional[float] = ..., degraded: _Optional[bool] = ...) -> None: ...

class CandidateDebug(_message.Message):
    __slots__ = ("media_id", "author_id", "source", "seed_account_id", "placements", "dropped", "source_path", "value", "diversity")
    MEDIA_ID_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SEED_ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    PLACEMENTS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    SOURCE_PATH_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    DIVERSITY_FIELD_NUMBER: _ClassVar[int]
    media_id: int
    author_id: int
    source: str
    seed_account_id: int
    placements: _containers.RepeatedCompositeFieldContainer[StagePlacement]
    dropped: str
    source_path: str
    value: ValueDebug
    diversity: DiversityDebug
    def __init__(self, media_id: _Optional[int] = ..., author_id: _Optional[int] = ..., source: _Optional[str] = ..., seed_account_id: _Optional[int] = ..., placements: _Optional[_Iterable[_Union[StagePlacement, _Mapping]]] = ..., dropped: _Optional[str] = ..., source_path: _Optional[str] = ..., value: _Optional[_Union[ValueDebug, _Mapping]] = ..., diversity: _Optional[_Union[DiversityDebug, _Mapping]] = ...) -> None: ...

class StagePlacement(_message.Message):
    __slots__ = ("stage", "rank", "score", "task_probabilities")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    TASK_PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    stage: str
    rank: int
    score: float
    task_probabilities: _containers.RepeatedCompositeFieldContainer[TaskProbability]
    def __init__(self, stage: _Optional[str] = ..., rank: _Optional[int] = ..., score: _Optional[float] = ..., task_probabilities: _Optional[_Iterable[_Union[TaskProbability, _Mapping]]] = ...) -> None: ...

class ValueDebug(_message.Message):
    __slots__ = ("stage", "value", "terms")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    stage: str
    value: float
    terms: _containers.RepeatedCompositeFieldContainer[ValueTerm]
    def __init__(self, stage: _Optional[str] = ..., value: _Optional[float] = ..., terms: _Optional[_Iterable[_Union[ValueTerm, _Mapping]]] = ...) -> None: ...

class ValueTerm(_message.Message):
    __slots__ = ("task", "weight", "probability", "term")
    TASK_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    task: str
    weight: float
    probability: float
    term: float
    def __init__(self, task: _Optional[str] = ..., weight: _Optional[float] = ..., probability: _Optional[float] = ..., term: _Optional[float] = ...) -> None: ...

class DiversityDebug(_message.Message):
    __slots__ = ("author_factor", "seed_factor", "factor", "discounted", "place")
    AUTHOR_FACTOR_FIELD_NUMBER: _ClassVar[int]
    SEED_FACTOR_FIELD_NUMBER: _ClassVar[int]
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    DISCOUNTED_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    author_factor: float
    seed_factor: float
    factor: float
    discounted: float
    place: int
    def __init__(self, author_factor: _Optional[float] = ..., seed_factor: _Optional[float] = ..., factor: _Optional[float] = ..., discounted: _Optional[float] = ..., place: _Optional[int] = ...) -> None: ...
