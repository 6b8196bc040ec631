"""Which services share a process."""

from __future__ import annotations

import pytest

from colocated.config import ORDER, ColocatedConfig
from serving.config import load
from serving.errors import ConfigError


def test_the_gateway_starts_last_whatever_the_order_in_which_they_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORE_SERVICES", '["gateway", "rerank_svc", "rank_svc"]')
    monkeypatch.setenv("EXPLORE_RANK_LISTEN", "unix:/run/rank.sock")
    config = load(ColocatedConfig)
    assert config.hosted == ("rank_svc", "rerank_svc", "gateway")
    assert config.listen["rank_svc"] == "unix:/run/rank.sock"
    assert config.listen["gateway"] == "127.0.0.1:50050"


def test_all_of_them_is_the_default() -> None:
    assert load(ColocatedConfig).hosted == ORDER


def test_those_that_are_told_where_to_listen_are_meant_if_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORE_GATEWAY_LISTEN", "[::]:50050")
    monkeypatch.setenv("EXPLORE_PRERANK_LISTEN", "[::]:50052")
    assert load(ColocatedConfig).listen == {"prerank_svc": "[::]:50052", "gateway": "[::]:50050"}


@pytest.mark.parametrize("value", ["[]", '["rank_svc", "rank_svc"]', '["rank"]', "rank_svc", '{"rank_svc": 1}'])
def test_what_is_no_list_of_services_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("EXPLORE_SERVICES", value)
    with pytest.raises(ConfigError, match=r"^EXPLORE_SERVICES.*[^\n]+$"):  # in one line
        load(ColocatedConfig)
