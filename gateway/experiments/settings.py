"""What an arm may change. Knows names and numbers; whether a bundle can serve them is asked elsewhere (`terms`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from gateway.random_slots import RandomSlots


@dataclass(frozen=True)
class Settings:
    """Overrides, by the names of the file; None leaves a setting as the gateway is configured."""

    value_weights: str | Mapping[str, float] | None = None  # a table of the bundle by name, or task -> weight
    diversity: Mapping[str, float] | None = None  # fields of DiversityConfig
    query: str | None = None  # a named query of the retrieval service
    bundle: str | None = None  # version
    random_slots: RandomSlots | None = None

    def named(self) -> dict[str, object]:
        """The settings that are overridden, by name."""
        return {name: value for name in NAMES if (value := getattr(self, name)) is not None}


NAMES = tuple(field.name for field in fields(Settings))
NO_SETTINGS = Settings()


def together(parts: Iterable[Settings]) -> Settings:
    """All overrides at once; no two of them name the same setting."""
    return Settings(**{name: value for part in parts for name, value in part.named().items()})  # type: ignore[arg-type]
