"""Environment in, config or a readable complaint out."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings

from gateway.config import GatewayConfig
from prerank_svc.config import PrerankConfig
from rank_svc.config import RankConfig as RankServiceConfig
from rerank_svc.config import RerankConfig
from retrieval_svc.config import RetrievalConfig, SourcingSettings
from serving.config import PortTls, ServiceConfig, load, strays, variable
from serving.errors import ConfigError
from tests.serving.certificates import Authority


class RankConfig(ServiceConfig):
    """As a service writes it."""

    listen: str = "127.0.0.1:50053"
    arms: dict[str, float] = Field(default_factory=dict)


def test_defaults_need_no_environment() -> None:
    config = load(RankConfig)
    assert (config.listen, config.onnx_threads, config.max_message_bytes) == ("127.0.0.1:50053", 1, 16 * 1024 * 1024)


def test_environment_overrides_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORE_BUNDLE_ROOT", "/srv/bundles")
    monkeypatch.setenv("EXPLORE_DRAIN_S", "2.5")
    monkeypatch.setenv("EXPLORE_REFLECTION", "false")
    monkeypatch.setenv("EXPLORE_ARMS", '{"a": 0.5}')
    config = load(RankConfig)
    assert (config.bundle_root, config.drain_s, config.reflection) == (Path("/srv/bundles"), 2.5, False)
    assert config.arms == {"a": 0.5}


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("EXPLORE_DRAIN_S", "soon", "valid number"),
        ("EXPLORE_DRAIN_S", "-1", "greater than 0"),
        ("EXPLORE_DRAIN_S", "nan", "finite|greater than 0"),
        ("EXPLORE_DRAIN_S", "inf", "finite"),
        ("EXPLORE_LOG_LEVEL", "loud", "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("EXPLORE_ONNX_THREADS", "0", "greater than or equal to 1"),
        ("EXPLORE_REFLECTION", "perhaps", "valid boolean"),
        ("EXPLORE_ARMS", "{", "must be JSON"),
        ("EXPLORE_ARMS", "[]", "valid dictionary"),
    ],
)
def test_wrong_value_is_named_with_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=rf"{name}='{value.replace('[', '.').replace('{', '.')}.*: .*({allowed})"):
        load(RankConfig)


@pytest.mark.parametrize("value", ["", "50051", "localhost", "localhost:", ":50051", "host:65536", "a b:1", "::1:5"])
def test_address_must_be_host_and_port(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("EXPLORE_LISTEN", value)
    with pytest.raises(ConfigError, match=r"EXPLORE_LISTEN=.*HOST:PORT"):
        load(ServiceConfig)


@pytest.mark.parametrize("value", ["unix:", "unix:rank.sock", "unix:/a,b", f"unix:/{'x' * 107}"])
def test_a_socket_must_be_a_path_that_fits(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("EXPLORE_LISTEN", value)
    with pytest.raises(ConfigError, match=r"EXPLORE_LISTEN=.*unix:/PATH, at most 107 bytes"):
        load(ServiceConfig)


@pytest.mark.parametrize("value", ["127.0.0.1:0", "rank-svc:50051", "[::]:50051", "[::1]:65535", "unix:/run/rank.sock"])
def test_address_may_be_a_name_ipv6_or_a_socket(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("EXPLORE_LISTEN", value)
    assert load(ServiceConfig).listen == value


def test_every_wrong_variable_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORE_DRAIN_S", "x")
    monkeypatch.setenv("EXPLORE_ONNX_THREADS", "y")
    with pytest.raises(ConfigError, match=r"EXPLORE_DRAIN_S='x'.*\n.*EXPLORE_ONNX_THREADS='y'"):
        load(RankConfig)


def test_a_floor_above_the_ceiling_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORE_LIMIT_FLOOR", "9")
    monkeypatch.setenv("EXPLORE_LIMIT_CEILING", "8")
    with pytest.raises(ConfigError, match="EXPLORE_LIMIT_FLOOR 9 is more than EXPLORE_LIMIT_CEILING 8"):
        load(RankConfig)


def test_config_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load(RankConfig).drain_s = 1.0


def test_a_variable_that_looks_like_one_of_ours_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORE_DRIAN_S", "5")
    monkeypatch.setenv("EXPLORE_DRAIN_S", "x")
    monkeypatch.setenv("EXPLORE_VALKEY_URL", "valkey://x")
    monkeypatch.setenv("EXPLORE_LOG_LEVEL", "INFO")
    assert strays(RankConfig) == {"EXPLORE_DRIAN_S": "EXPLORE_DRAIN_S", "EXPLORE_VALKEY_URL": None}
    with pytest.raises(
        ConfigError, match=r"^EXPLORE_DRIAN_S is not known, did you mean EXPLORE_DRAIN_S\?\nEXPLORE_DRAIN_S='x'"
    ):
        load(RankConfig)


def test_no_setting_of_a_service_looks_like_a_misspelt_one_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    services = (GatewayConfig, RetrievalConfig, PrerankConfig, RankServiceConfig, RerankConfig)
    readers: tuple[type[BaseSettings], ...] = (*services, SourcingSettings)
    for name in {variable(field) for service in services for field in service.model_fields}:
        monkeypatch.setenv(name, "")
    for reader in readers:
        assert set(strays(reader).values()) <= {None}


def test_the_allowed_range_is_told_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORE_ONNX_THREADS", "1000")
    monkeypatch.setenv("EXPLORE_QUEUE_WAIT_SHARE", "0")
    with pytest.raises(ConfigError) as refusal:
        load(RankConfig)
    assert str(refusal.value).splitlines() == [
        "EXPLORE_QUEUE_WAIT_SHARE='0': Input should be greater than 0 (allowed: more than 0, at most 1)",
        "EXPLORE_ONNX_THREADS='1000': Input should be less than or equal to 256 (allowed: at least 1, at most 256)",
    ]


def test_peers_are_names_and_need_certificates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EXPLORE_TLS_PEERS", '["gateway"]')
    with pytest.raises(ConfigError, match="EXPLORE_TLS_PEERS is set without EXPLORE_TLS_DIRECTORY"):
        load(RankConfig)
    monkeypatch.setenv("EXPLORE_TLS_DIRECTORY", str(Authority().write(tmp_path / "tls", "rank")))
    assert load(RankConfig).port_tls == PortTls(tmp_path / "tls", ("gateway",))
    for wrong in ('["a b"]', '[""]', '["https://x"]', '["spiffe://"]', '["-a"]'):
        monkeypatch.setenv("EXPLORE_TLS_PEERS", wrong)
        with pytest.raises(ConfigError, match=r"EXPLORE_TLS_PEERS\[0\]=.*: must be a DNS name or a spiffe:// URI"):
            load(RankConfig)


def test_missing_certificates_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EXPLORE_TLS_DIRECTORY", str(tmp_path))
    with pytest.raises(ConfigError, match=rf"^EXPLORE_TLS_DIRECTORY='{tmp_path}': {tmp_path}/tls.crt: No such file"):
        load(RankConfig)
