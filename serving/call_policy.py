"""How stages are called: one table of settings for replicas, breakers, retries, hedges and batches."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from serving.config import Seconds


class BreakerPolicy(BaseModel):
    """When an endpoint is left alone, and for how long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    failures_in_a_row: int = Field(default=5, ge=1)  # calls without an answer, late ones included
    failure_share: float = Field(default=0.5, gt=0, le=1)  # of the calls in the window
    window_s: Seconds = 10.0
    window_calls: int = Field(default=20, ge=1)  # fewer say nothing about a share
    # A stage that is back is used again within two seconds: 1 s of these, and 1 s at most between two attempts to connect.
    open_s: Seconds = 0.25  # before the first probe; doubles with each one that fails
    max_open_s: Seconds = 1.0


class CallPolicy(BaseModel):
    """How one stage is called. Extra calls are retries and hedges together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    extra_share: float = Field(default=0.1, ge=0, le=1)  # of the calls in the window
    extra_floor: int = Field(default=3, ge=0)  # extra calls in the window that a quiet system may make all the same
    extra_window_s: Seconds = 10.0
    hedge_quantile: float | None = Field(default=0.95, gt=0, lt=1)  # of recent calls; None: never a second call
    hedge_after_calls: int = Field(default=100, ge=1, le=1024)  # fewer calls say nothing about a quantile
    # More would overlap the way of one call with the work of another, but what waits meanwhile shares the next call and costs less.
    calls_per_endpoint: int = Field(default=1, ge=1)
    batch_users: int = Field(default=16, ge=1)  # 1: requests neither wait nor share a call
    batch_mb: float = Field(default=4.0, gt=0)  # of requests in one call; keep it below max_message_mb
    max_waiting: int = Field(default=256, ge=1)  # requests that may wait for a call of a stage to return
    resolve_s: Seconds = 10.0  # how often a dns:/// name is looked up again
    drain_s: Seconds = 10.0  # how long calls to an address that vanished from the name may go on
    breaker: BreakerPolicy = BreakerPolicy()
