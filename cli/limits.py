"""The largest numbers that options take: beyond them some library cannot go on."""

from __future__ import annotations

MAX_SEED = 2**63 - 1
MAX_HOURS = 24.0 * 3650
MAX_GB = 1e6
