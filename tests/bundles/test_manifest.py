"""What a manifest accepts, and that its JSON is canonical."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from pydantic import ValidationError

from bundles.manifest import FileEntry, Manifest, ManifestFields
from tests.bundles.conftest import fields

ENTRY = FileEntry(sha256="0" * 64, size=3)


def manifest(**changes: Any) -> Manifest:
    return Manifest.model_validate(
        {"version": "v", "created_at_ms": 5, "files": {"a/b.npy": ENTRY}, **fields(), **changes}
    )


def test_json_round_trip_gives_an_equal_manifest() -> None:
    assert Manifest.model_validate_json(manifest().to_json()) == manifest()


def test_json_does_not_depend_on_the_order_of_keys() -> None:
    weights = {"negative": -5.0, "click": 1.0}
    assert manifest(value_weights={"default": weights}).to_json() == manifest().to_json()
    assert list(json.loads(manifest().to_json())) == sorted(json.loads(manifest().to_json()))


def test_content_hash_ignores_the_version_only() -> None:
    assert manifest(version="other").content_hash() == manifest().content_hash()
    assert manifest(command="other").content_hash() != manifest().content_hash()


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../up", "a/../../up", "a//b", "./a", "a/", ".", "", "a\\b", "a\0b", "manifest.json"]
)
def test_paths_that_leave_the_bundle_are_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="files"):
        manifest(files={path: ENTRY})


@pytest.mark.parametrize("weight", [math.nan, math.inf, -math.inf])
def test_weights_must_be_finite(weight: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        manifest(value_weights={"default": {"click": weight}})


def test_metrics_must_be_finite() -> None:
    with pytest.raises(ValidationError, match="finite"):
        manifest(metrics={"rank": {"auc": [0.5, math.nan]}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value_weights": {"arm": {}}}, "no table 'default'"),
        ({"value_weights": {"default": {"clik": 1.0}}}, r"unknown tasks \['clik'\]"),
        ({"tasks": ("click", "click")}, "repeats"),
        ({"training_window_start_ms": 2_000_000}, "lies after"),
        ({"schema_fingerprint": ""}, "schema_fingerprint"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_inconsistent_manifests_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        manifest(**changes)


def test_publisher_states_everything_that_the_store_does_not_add() -> None:
    added = {"format_version", "version", "created_at_ms", "files"}
    assert set(ManifestFields.__annotations__) == Manifest.model_fields.keys() - added
