"""Fetches again and again, so that a new bundle reaches a node without anybody calling: a side container of every serving pod."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from bundles.collect import LocalShelf, Rules, collect
from bundles.errors import BundleError
from bundles.fetch import Fetched, Fetcher
from bundles.patience import jittered
from bundles.store import BundleStore

LONGEST_S = 300.0  # between two looks at a store that fails

_log = logging.getLogger(__name__)


def fetch_once(fetcher: Fetcher, store: BundleStore, rules: Rules | None) -> Fetched:
    """One look, and then what is old goes, if there are rules for it. Raises BundleError or OSError."""
    fetched = fetcher.step()
    if fetched.moved:
        _log.info("bundle active", extra={"version": fetched.wanted.current, "also": list(fetched.wanted.also)})
    if rules is not None:
        collect(LocalShelf(store), rules)
    return fetched


def follow(look: Callable[[], Fetched], poll_s: float, pause: Callable[[float], object] = time.sleep) -> None:
    """Looks for ever. After an error it says so and waits twice as long each time; what is here serves on meanwhile."""
    failures = 0
    while True:
        try:
            look()
        except (BundleError, OSError) as error:
            failures += 1
            wait_s = jittered(min(poll_s * 2 ** min(failures, 16), max(poll_s, LONGEST_S)))
            _log.error("what is here goes on: %s", error, extra={"failures": failures, "in_s": round(wait_s, 1)})
        else:
            failures = 0
            wait_s = jittered(poll_s)
        pause(wait_s)
