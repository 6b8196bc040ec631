"""The manifest of a bundle: where it comes from, what it was trained on and the checksum of every file.

Knows the JSON, not the disk: `store.py` reads, writes and verifies.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import Annotated, TypedDict

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, JsonValue, model_validator

FORMAT_VERSION = 2  # raised when services need files that older bundles lack
MANIFEST_NAME = "manifest.json"
DEFAULT_WEIGHTS = "default"  # the value weight table used where no experiment arm names another

_FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _check_path(path: str) -> str:
    pure = PurePosixPath(path)
    plain = not pure.is_absolute() and ".." not in pure.parts and str(pure) == path and path != "."
    if not plain or "\\" in path or "\0" in path:
        raise ValueError(f"{path!r} is not a relative posix path inside the bundle")
    if path == MANIFEST_NAME:
        raise ValueError(f"{MANIFEST_NAME} cannot list itself")
    return path


BundlePath = Annotated[str, AfterValidator(_check_path)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class FileEntry(BaseModel):
    """Checksum (hex) and size (bytes) of one file."""

    model_config = _FROZEN

    sha256: Sha256
    size: int = Field(ge=0)


class ManifestFields(TypedDict):
    """What the publisher states; the store adds the rest. The fields mean what they mean in `Manifest`."""

    parent: str | None
    dataset: str
    as_of_ms: int
    training_window_start_ms: int
    training_window_end_ms: int
    schema_fingerprint: str
    tasks: tuple[str, ...]
    value_weights: dict[str, dict[str, float]]
    metrics: dict[str, JsonValue]
    library_versions: dict[str, str]
    command: str


class Manifest(BaseModel):
    """Everything known about a bundle. Times are milliseconds since the epoch, UTC."""

    model_config = _FROZEN

    format_version: int = FORMAT_VERSION
    version: str
    created_at_ms: int
    parent: str | None  # version that training continued from
    dataset: str
    as_of_ms: int  # end of the data: features and clocks refer to it
    training_window_start_ms: int
    training_window_end_ms: int
    schema_fingerprint: str = Field(min_length=1)
    tasks: tuple[str, ...]
    value_weights: dict[str, dict[str, FiniteFloat]]  # table name -> task -> weight
    metrics: dict[str, JsonValue]
    library_versions: dict[str, str]
    command: str  # what to run to get this bundle again
    files: dict[BundlePath, FileEntry]

    @model_validator(mode="after")
    def _check_consistency(self) -> Manifest:
        if self.training_window_start_ms > self.training_window_end_ms:
            raise ValueError("training_window_start_ms lies after training_window_end_ms")
        if len(set(self.tasks)) != len(self.tasks):
            raise ValueError(f"tasks repeats a name: {', '.join(self.tasks)}")
        if DEFAULT_WEIGHTS not in self.value_weights:
            raise ValueError(f"value_weights has no table {DEFAULT_WEIGHTS!r}; tables: {sorted(self.value_weights)}")
        for table, weights in self.value_weights.items():
            unknown = sorted(weights.keys() - set(self.tasks))
            if unknown:
                raise ValueError(f"value_weights[{table!r}] names unknown tasks {unknown}; tasks: {list(self.tasks)}")
        return self

    def to_json(self) -> str:
        """Canonical: equal manifests give equal text."""
        return _canonical(self.model_dump(mode="json"), indent=2) + "\n"

    def content_hash(self) -> str:
        """Hex sha256 over everything but the version, which itself ends in the beginning of this hash."""
        content = self.model_dump(mode="json", exclude={"version"})
        return hashlib.sha256(_canonical(content, indent=None).encode()).hexdigest()


def _canonical(value: object, indent: int | None) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=indent)
