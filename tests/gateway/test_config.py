"""The gateway's settings: a funnel that widens, or a page that no stage can fill, is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from features.schema import Stage
from gateway.config import Funnel, GatewayConfig, StagePlan
from gateway.random_slots import NO_RANDOM_SLOTS
from serving.call_policy import CallPolicy
from serving.config import PortTls, load
from serving.errors import ConfigError
from tests.serving.certificates import Authority


def test_the_default_funnel_is_the_published_one() -> None:
    funnel = Funnel()
    keeps = [funnel.retrieval.keep, *(funnel.plan_of(stage).keep for stage in Stage), GatewayConfig().page_size]
    assert keeps == [500, 150, 50, 50, 25]


def test_a_stage_that_keeps_more_than_the_one_before_is_refused() -> None:
    with pytest.raises(ValidationError, match="cannot keep more"):
        Funnel(prerank=StagePlan(keep=600, share=0.5))


def test_what_a_given_row_of_the_funnel_leaves_out_stays_as_it_is_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORE_FUNNEL", '{"rank": {"keep": 100}, "rerank": {"keep": 100, "share": 0.8}}')
    funnel = load(GatewayConfig).funnel
    assert funnel.rank == StagePlan(keep=100, share=0.5)
    assert funnel.rerank == StagePlan(keep=100, share=0.8, history=1000)
    assert (funnel.retrieval, funnel.prerank) == (Funnel().retrieval, Funnel().prerank)


@pytest.mark.parametrize("share", [-0.01, 1.01, float("nan")])
def test_a_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(ValidationError, match="funnel_log_share"):
        GatewayConfig(funnel_log_share=share)


def test_a_gateway_logs_nothing_unless_it_is_told_where() -> None:
    assert (GatewayConfig().funnel_log, GatewayConfig().funnel_log_share) == (None, 0.01)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"random_slot_share": 1.5}, "random_slot_share"),
        ({"random_slot_share": float("nan")}, "random_slot_share"),
        ({"random_slot_first": -1}, "random_slot_first"),
        ({"random_slot_first": 5, "random_slot_last": 4}, "random_slot_last 4 is before random_slot_first 5"),
    ],
)
def test_random_slots_that_are_no_range_are_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        GatewayConfig(**fields)


def test_nothing_is_random_unless_it_is_asked_for() -> None:
    assert GatewayConfig().random_slots == NO_RANDOM_SLOTS


def test_a_page_larger_than_the_last_stage_is_refused() -> None:
    with pytest.raises(ValidationError, match="more than the last stage keeps"):
        GatewayConfig(page_size=51)


def test_only_retrieval_is_asked_in_shards() -> None:
    assert GatewayConfig(retrieval_address="a:1,b:1;c:1").retrieval_address == "a:1,b:1;c:1"
    with pytest.raises(ValidationError, match="shard 1 of 2 has no address"):
        GatewayConfig(retrieval_address="a:1;")
    with pytest.raises(ValidationError, match="rank_address"):
        GatewayConfig(rank_address="a:1;b:1")


def test_an_address_that_cannot_be_called_is_refused() -> None:
    assert GatewayConfig(rank_address="a:1,dns:///b:2").rank_address == "a:1,dns:///b:2"
    with pytest.raises(ValidationError, match="must be HOST:PORT or dns:///HOST:PORT"):
        GatewayConfig(rank_address="localhost")


def test_a_shared_call_that_no_message_can_hold_is_refused() -> None:
    with pytest.raises(ValidationError, match="batch_mb 16 must be below max_message_mb 16"):
        GatewayConfig(calls=CallPolicy(batch_mb=16))


@pytest.mark.parametrize("hours", [-1.0, float("nan"), float("inf")])
def test_an_absence_that_is_no_time_is_refused(hours: float) -> None:
    with pytest.raises(ValidationError, match="missed_after_h"):
        GatewayConfig(missed_after_h=hours)


@pytest.mark.parametrize(("hours", "milliseconds"), [(0.0, 0), (0.5, 1_800_000), (72.0, 259_200_000)])
def test_an_absence_is_told_in_hours(hours: float, milliseconds: int) -> None:
    assert GatewayConfig(missed_after_h=hours).missed_after_ms == milliseconds


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("EXPLORE_PAGE_SIZE", "0", r"='0': Input should be greater than or equal to 1 \(allowed: at least 1\)$"),
        ("EXPLORE_PAGE_SIZE", "51", r" 51 is more than the last stage keeps \(50\)$"),
        ("EXPLORE_CLIENT_KEYS", "/no", "='/no': /no cannot be read: No such file or directory$"),
        ("EXPLORE_CLIENT_TLS_DIRECTORY", "/no", "='/no': /no/tls.crt: No such file or directory; it must be"),
        ("EXPLORE_TLS_DIRECTORY", "/no", "='/no': /no/tls.crt: No such file or directory; it must be"),
        ("EXPLORE_VALKEY_URL_FILE", "/no", "='/no': /no cannot be read: No such file or directory$"),
        ("EXPLORE_CLIENT_KEY", "/no", r" is not known, did you mean EXPLORE_CLIENT_KEYS\?$"),
    ],
)
def test_a_wrong_variable_is_named_with_its_value_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"^{name}{said}"):
        load(GatewayConfig)


def test_the_public_port_has_certificates_of_its_own(tmp_path: Path) -> None:
    authority = Authority()
    inner = authority.write(tmp_path / "inner", "gateway")
    assert GatewayConfig(tls_directory=inner).port_tls is None
    public = authority.write(tmp_path / "public", "feed.example.com")
    assert GatewayConfig(tls_directory=inner, client_tls_directory=public).port_tls == PortTls(public, None)
