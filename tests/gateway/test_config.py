"""The gateway's settings: a funnel that widens, or a page that no stage can fill, is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from features.schema import Stage
from gateway.config import Funnel, GatewayConfig, StagePlan


def test_the_default_funnel_is_the_published_one() -> None:
    funnel = Funnel()
    keeps = [funnel.retrieval.keep, *(funnel.plan_of(stage).keep for stage in Stage), GatewayConfig().page_size]
    assert keeps == [500, 150, 50, 50, 25]


def test_a_stage_that_keeps_more_than_the_one_before_is_refused() -> None:
    with pytest.raises(ValidationError, match="cannot keep more"):
        Funnel(prerank=StagePlan(keep=600, share=0.5))


@pytest.mark.parametrize("share", [-0.01, 1.01, float("nan")])
def test_a_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(ValidationError, match="funnel_log_share"):
        GatewayConfig(funnel_log_share=share)


def test_a_gateway_logs_nothing_unless_it_is_told_where() -> None:
    assert (GatewayConfig().funnel_log, GatewayConfig().funnel_log_share) == (None, 0.01)


def test_a_page_larger_than_the_last_stage_is_refused() -> None:
    with pytest.raises(ValidationError, match="more than the last stage keeps"):
        GatewayConfig(page_size=51)


@pytest.mark.parametrize("hours", [-1.0, float("nan"), float("inf")])
def test_an_absence_that_is_no_time_is_refused(hours: float) -> None:
    with pytest.raises(ValidationError, match="missed_after_h"):
        GatewayConfig(missed_after_h=hours)


@pytest.mark.parametrize(("hours", "milliseconds"), [(0.0, 0), (0.5, 1_800_000), (72.0, 259_200_000)])
def test_an_absence_is_told_in_hours(hours: float, milliseconds: int) -> None:
    assert GatewayConfig(missed_after_h=hours).missed_after_ms == milliseconds
