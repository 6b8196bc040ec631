"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# A busy machine must not fail a test of results; what measures speed is a benchmark.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
