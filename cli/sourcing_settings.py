"""What the environment says of sourcing, for commands that source as the services do. Knows settings; knows no engine."""

from __future__ import annotations

from pathlib import Path

from cli.errors import CommandError
from retrieval_svc.config import SourcingConfig, SourcingSettings
from serving.config import load
from serving.errors import ConfigError


def sourcing_config(igql_file: Path, takedown_file: Path | None = None) -> SourcingConfig:
    """The rules of EXPLORE_MISSING_INTEGRITY_SCORE and so on with these files, which the workspace decides on.

    Raises CommandError naming every variable that is wrong.
    """
    try:
        return load(SourcingSettings, igql_file=igql_file, igql_directory=None, takedown_file=takedown_file)
    except ConfigError as error:
        raise CommandError(str(error), "correct it or unset it: the retrieval service refuses it too") from error
