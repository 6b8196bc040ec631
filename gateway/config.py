"""What can be set about the gateway. The funnel is one table; nothing of it is spelled out elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from features.context import HISTORY_LENGTH, LONG_HISTORY_LENGTH
from features.counters import HOUR_MS
from features.durability import Durability
from features.event_archive import ARCHIVE_EVENTS
from features.integrity import NON_RECOMMENDABLE_THRESHOLD, MissingScore
from features.schema import Stage
from features.user_state import EXPOSURE_MEMORY_S
from gateway.clients_file import check_clients
from gateway.diversity import DiversityConfig
from gateway.random_slots import RandomSlots
from gateway.state_url import check_open_url, check_url_file, read_url
from serving.addresses import ShardedAddress, StageAddress
from serving.call_policy import CallPolicy
from serving.config import Address, PortTls, Seconds, ServiceConfig, Share, check_tls


class StagePlan(BaseModel):
    """One row of the funnel: how many candidates a stage lets through, its share of the time that is left when it starts, and how
    many of the user's newest actions it is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep: int = Field(ge=1, le=5000)
    share: Share
    history: int = Field(default=HISTORY_LENGTH, ge=0, le=LONG_HISTORY_LENGTH)


class Funnel(BaseModel):
    """The stages in request order. Later stages cost more per candidate, so they get fewer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    retrieval: StagePlan = StagePlan(keep=500, share=0.4)
    prerank: StagePlan = StagePlan(keep=150, share=0.4)
    rank: StagePlan = StagePlan(keep=50, share=0.5)
    rerank: StagePlan = StagePlan(keep=50, share=0.9, history=LONG_HISTORY_LENGTH)

    def plan_of(self, stage: Stage) -> StagePlan:
        """The row of a ranking stage."""
        rows = {Stage.PRERANK: self.prerank, Stage.RANK: self.rank, Stage.RERANK: self.rerank}
        return rows[stage]

    @model_validator(mode="before")
    @classmethod
    def _over_defaults(cls, given: Any) -> Any:
        """What a given row leaves out stays as it is by default: the default rows differ."""
        if not isinstance(given, dict):
            return given
        rows = {name: field.default.model_dump() for name, field in cls.model_fields.items()}
        return {name: {**rows.get(name, {}), **row} if isinstance(row, dict) else row for name, row in given.items()}

    @model_validator(mode="after")
    def _narrows(self) -> Funnel:
        keeps = [self.retrieval.keep, self.prerank.keep, self.rank.keep, self.rerank.keep]
        if sorted(keeps, reverse=True) != keeps:
            raise ValueError(f"a stage cannot keep more than the one before, got {keeps}")
        return self


class GatewayConfig(ServiceConfig):
    """The gateway's settings; the environment variable of `page_size` is EXPLORE_PAGE_SIZE, and so on."""

    listen: Address = "127.0.0.1:50050"
    # One address, several that are separated by commas, or dns:///HOST:PORT.
    retrieval_address: ShardedAddress = "127.0.0.1:50051"  # of every shard, in order, separated by semicolons
    prerank_address: StageAddress = "127.0.0.1:50052"
    rank_address: StageAddress = "127.0.0.1:50053"
    rerank_address: StageAddress = "127.0.0.1:50054"
    calls: CallPolicy = CallPolicy()  # how each of them is called
    valkey_url: Annotated[SecretStr, AfterValidator(check_open_url)] = SecretStr("redis://127.0.0.1:6379/0")
    # Holds the URL, for those with a password: the environment is read by too many (docs/security.md).
    valkey_url_file: Annotated[Path, AfterValidator(check_url_file)] | None = None
    # Who may call the public port, and its certificate. Unset: whoever reaches it, in plain text.
    client_keys: Annotated[Path, AfterValidator(check_clients)] | None = None
    client_tls_directory: Annotated[Path, AfterValidator(check_tls(mutual=False))] | None = None

    funnel: Funnel = Funnel()
    page_size: int = Field(default=25, ge=1)
    deadline_s: Seconds = 1.0  # for callers without one, and the most that a caller gets
    # A page spends its time in four stages, one after the other, and shares their calls with pages that are there when it comes:
    # with fewer at a time, cores stand idle while pages wait (docs/decisions/0016).
    limit_floor: int = Field(default=16, ge=1)
    queue_wait_share: Share = 0.5  # what a page waits for its turn, its stages lack
    page_reserve: Share = 0.05  # of the deadline, kept from the stages: for making, remembering and sending the page
    state_timeout_s: Seconds = 0.1  # for one read or write of user state
    feedback_durability: Durability = (
        Durability.AOF
    )  # what must hold before an event is acknowledged; none: Valkey is a cache
    feedback_timeout_s: Seconds = 1.0  # for one write of feedback, until it is on disk
    event_archive_events: int = Field(default=ARCHIVE_EVENTS, ge=1)  # kept in Valkey for training; the oldest go first
    exposure_memory_s: int = Field(
        default=EXPOSURE_MEMORY_S, ge=1
    )  # how long a page is kept for the events that it causes
    value_weights: str = "default"  # name of a table in the bundle
    diversity_decay: float = Field(default=DiversityConfig.decay, ge=0, le=1)
    diversity_floor: float = Field(default=DiversityConfig.floor, gt=0, le=1)
    random_slot_share: float = Field(default=0.0, ge=0, le=1)  # how often chance fills a position of the range
    random_slot_first: int = Field(default=0, ge=0)
    random_slot_last: int | None = None  # to the end of the feed
    experiments: Path | None = None  # YAML file, looked at again for every request (docs/experiments.md)
    missed_after_h: float = Field(
        default=72.0, ge=0, le=24 * 3650
    )  # away so long, a user gets what was missed; 0: never
    missed_items: int = Field(default=3, ge=1)  # that stand on top of the page then, at most
    # What the fallback page may hold, by the settings of retrieval: told otherwise, it would show what sourcing does not.
    non_recommendable_threshold: float = Field(default=NON_RECOMMENDABLE_THRESHOLD, ge=0, le=1)
    missing_integrity_score: MissingScore = "auto"
    max_media_age_hours: int | None = Field(default=None, ge=1)
    takedown_file: Path | None = None  # looked at again whenever a fallback page is made
    funnel_log: Path | None = (
        None  # directory; what all stages think of all candidates of a sample of requests goes there
    )
    funnel_log_share: float = Field(default=0.01, ge=0, le=1)  # of the requests
    funnel_log_mb: int = Field(default=1024, ge=1)  # the oldest files beyond it are removed
    funnel_log_requests: int = Field(default=50, ge=1, le=1000)  # per file
    funnel_log_roll_s: Seconds = 300.0  # a file that is not full is written after this time
    funnel_log_deadline_s: Seconds = 5.0  # for scoring all candidates of one request
    bundle_wait_s: Seconds = (
        5.0  # how long a new bundle waits for replicas that do not answer; for those that do, it always waits
    )
    clock: Literal["wall", "data"] = "wall"  # data: time starts where the bundle's log ends (docs/decisions/0004)

    @property
    def port_tls(self) -> PortTls | None:
        """Clients check our certificate and show a key; `tls_directory` is for the calls to the stages."""
        return None if self.client_tls_directory is None else PortTls(self.client_tls_directory, peers=None)

    @property
    def state_url(self) -> str:
        """Where Valkey is, with its password: for the client and nobody else."""
        return read_url(self.valkey_url_file) if self.valkey_url_file else self.valkey_url.get_secret_value()

    @model_validator(mode="after")
    def _one_url(self) -> GatewayConfig:
        if self.valkey_url_file and "valkey_url" in self.model_fields_set:
            raise ValueError("valkey_url and valkey_url_file are both set, one of them is allowed")
        return self

    @property
    def max_page_size(self) -> int:
        """A page cannot hold more than the last stage lets through."""
        return self.funnel.rerank.keep

    @property
    def diversity(self) -> DiversityConfig:
        """The diversity rule."""
        return DiversityConfig(self.diversity_decay, self.diversity_floor)

    @property
    def random_slots(self) -> RandomSlots:
        """Where chance decides, for users whose arm says nothing else."""
        return RandomSlots(self.random_slot_share, self.random_slot_first, self.random_slot_last)

    @model_validator(mode="after")
    def _slots_are_a_range(self) -> GatewayConfig:
        if self.random_slot_last is not None and self.random_slot_last < self.random_slot_first:
            raise ValueError(
                f"random_slot_last {self.random_slot_last} is before random_slot_first {self.random_slot_first}"
            )
        return self

    @property
    def missed_after_ms(self) -> int:
        """The shortest absence with a module, 0: none has one."""
        return round(self.missed_after_h * HOUR_MS)

    @property
    def max_media_age_ms(self) -> int | None:
        """How old media of the fallback page may be."""
        return None if self.max_media_age_hours is None else self.max_media_age_hours * HOUR_MS

    @model_validator(mode="after")
    def _page_fits(self) -> GatewayConfig:
        if self.page_size > self.max_page_size:
            raise ValueError(f"page_size {self.page_size} is more than the last stage keeps ({self.max_page_size})")
        return self

    @model_validator(mode="after")
    def _shared_calls_fit(self) -> GatewayConfig:
        if self.calls.batch_mb >= self.max_message_mb:
            raise ValueError(
                f"calls.batch_mb {self.calls.batch_mb:g} must be below max_message_mb {self.max_message_mb}"
            )
        return self
