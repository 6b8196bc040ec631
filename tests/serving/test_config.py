"""Environment in, config or a readable complaint out."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from serving.config import ServiceConfig, Stray, load, strays
from serving.errors import ConfigError


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
    with pytest.raises(ConfigError, match="limit_floor 9 is more than limit_ceiling 8"):
        load(RankConfig)


def test_config_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load(RankConfig).drain_s = 1.0


def test_mistyped_variable_gets_a_suggestion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORE_DRIAN_S", "5")
    monkeypatch.setenv("EXPLORE_VALKEY_URL", "valkey://x")
    monkeypatch.setenv("EXPLORE_LOG_LEVEL", "INFO")
    assert strays(RankConfig) == [Stray("EXPLORE_DRIAN_S", "EXPLORE_DRAIN_S"), Stray("EXPLORE_VALKEY_URL", None)]
