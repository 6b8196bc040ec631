"""Who arrives, and for what: the table in traffic.yaml, checked. Knows nothing of locust or gRPC."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

DEFAULT = Path(__file__).with_name("traffic.yaml")
Kind = Literal["open", "page_on", "come_back", "see", "like", "save", "hide"]


class TrafficError(Exception):
    """A table or a list of users that cannot be used; the text names the file, the field and what is allowed."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class AudienceTable(_Section):
    """Whose feeds are opened."""

    users: int = Field(ge=1, le=10_000_000)
    zipf_exponent: float = Field(ge=0, le=10)
    strangers: float = Field(ge=0, le=1)


class Browsing(_Section):
    """How visitors go on."""

    page_size: int = Field(ge=1)
    reading_s: float = Field(ge=0)
    away_s: float = Field(ge=0)
    browsing: int = Field(ge=1)


class Traffic(_Section):
    """The whole table."""

    requests: dict[Kind, float]
    audience: AudienceTable
    browsing: Browsing

    @model_validator(mode="after")
    def _weights_can_be_drawn(self) -> Traffic:
        wrong = [f"{kind}: {weight}" for kind, weight in self.requests.items() if not weight >= 0]
        if wrong:
            raise ValueError(f"a weight must be >= 0, got {', '.join(wrong)}")
        if not self.requests.get("open", 0) > 0:
            raise ValueError("`open` must weigh more than 0: everything else begins with it")
        return self

    def draw(self, rng: random.Random) -> Kind:
        """What a request is for."""
        return rng.choices(list(self.requests), list(self.requests.values()))[0]


def read_traffic(path: Path = DEFAULT) -> Traffic:
    """The table. Raises TrafficError."""
    try:
        return Traffic.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TrafficError(f"{path}: {error}") from error
    except ValidationError as error:
        wrong = ("{}: {}".format(".".join(map(str, each["loc"])) or "table", each["msg"]) for each in error.errors())
        raise TrafficError(f"{path}: {'; '.join(wrong)}") from error


def read_users(path: Path) -> list[str]:
    """User ids from a file, one a line, most active first. Raises TrafficError if there is none."""
    try:
        # Some editors begin UTF-8 with a mark that nobody sees, and the first user would be a stranger.
        users = [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise TrafficError(f"{path}: {error}") from error
    if not users:
        raise TrafficError(f"{path}: holds no user id; one a line is expected")
    return users


class Population:
    """Draws users: few open many feeds (Zipf), and some are strangers."""

    def __init__(self, table: AudienceTable, rng: random.Random, users: Sequence[str] | None = None) -> None:
        """`users`: by rank, instead of 1, 2, 3 …"""
        self._users = users or [str(number) for number in range(1, table.users + 1)]
        self._cumulative = list(accumulate(rank**-table.zipf_exponent for rank in range(1, len(self._users) + 1)))
        self._strangers, self._rng = table.strangers, rng

    def draw(self) -> str:
        """A user id."""
        if self._rng.random() < self._strangers:
            return f"stranger-{self._rng.getrandbits(48):012x}"
        return self._rng.choices(self._users, cum_weights=self._cumulative)[0]
