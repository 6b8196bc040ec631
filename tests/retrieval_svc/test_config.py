from __future__ import annotations

import pytest

from retrieval_svc.config import SOURCE_WEIGHTS, RetrievalConfig
from retrieval_svc.sources import SOURCES
from serving.config import load
from serving.errors import ConfigError


def test_every_source_has_a_default_weight() -> None:
    assert set(SOURCE_WEIGHTS) == {source.name for source in SOURCES}
    assert sum(SOURCE_WEIGHTS.values()) == pytest.approx(1)


def test_weights_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORE_SOURCE_WEIGHTS", '{"fresh": 2}')
    assert load(RetrievalConfig).source_weights == {"fresh": 2.0}
    assert load(RetrievalConfig).listen == "127.0.0.1:50051"


@pytest.mark.parametrize(
    ("weights", "complaint"),
    [
        ('{"freesh": 1}', "unknown sources.*freesh.*sources:"),
        ('{"fresh": 0}', "a weight above 0"),
        ('{"fresh": -1}', "greater than or equal to 0"),
        ('{"fresh": NaN}', "finite|JSON"),
    ],
)
def test_wrong_weights_are_refused_by_name(monkeypatch: pytest.MonkeyPatch, weights: str, complaint: str) -> None:
    monkeypatch.setenv("EXPLORE_SOURCE_WEIGHTS", weights)
    with pytest.raises(ConfigError, match=rf"(?s)EXPLORE_SOURCE_WEIGHTS.*({complaint})"):
        load(RetrievalConfig)
