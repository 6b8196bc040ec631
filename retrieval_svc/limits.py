"""What one request may ask for. Apart from the settings, so that a command line can be built of it without the engine."""

from __future__ import annotations

MAX_COUNT = 5_000  # candidates of one user, unless EXPLORE_MAX_COUNT says otherwise
