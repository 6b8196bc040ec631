"""Keys of clients as files, and calls that show them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

APP, SHOP = "app-secret-0123456789", "shop-secret-9876543210"
ALL = ["feed", "debug", "feedback", "delete", "status"]


def entry(key: str, **changes: Any) -> dict[str, Any]:
    """A client who may do everything, often."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    return {"sha256": digest, "per_second": 1000, "burst": 1000, "scopes": ALL, **changes}


def write_keys(path: Path, **clients: dict[str, Any]) -> Path:
    """JSON, which YAML is a superset of."""
    path.write_text(json.dumps({"keys": clients}))
    return path


def showing(key: str) -> tuple[tuple[str, str], ...]:
    return (("x-api-key", key),)
