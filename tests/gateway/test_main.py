"""The gateway's composition root: settings that cannot serve are named before anything is served."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.__main__ import build
from gateway.config import GatewayConfig
from serving.errors import ConfigError
from serving.telemetry import NoTelemetry


async def test_a_broken_experiment_file_keeps_the_gateway_from_starting(tmp_path: Path) -> None:
    file = tmp_path / "experiments.yaml"
    file.write_text("layers: {a: {share: 2}}")
    with pytest.raises(
        ConfigError, match=r"(?s)^EXPLORE_EXPERIMENTS=.*experiments\.yaml:1:21: layers\.a\.share must be"
    ):
        build(GatewayConfig(experiments=file), NoTelemetry())
