"""`python -m bundles`: brings bundles to and from a store behind a URL. Runs in serving images, so it needs little."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bundles import console
from bundles.collect import LocalShelf, RemoteShelf, Rules, collect
from bundles.errors import BundleError
from bundles.fetch import Fetcher
from bundles.follow import fetch_once, follow
from bundles.push import Pusher
from bundles.remote import RemoteStore
from bundles.store import BundleStore

POLL_S, GRACE_S = 10.0, 3600.0
_TERMINATED = 128 + signal.SIGTERM


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, 1 for an error that has been explained; 2 for wrong usage. SIGTERM ends `--follow` with 0."""
    options = _parser().parse_args(arguments)
    console.configure(sys.stderr)
    followed = bool(getattr(options, "follow", False))

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        # Wherever it strikes: whatever SIGKILL may interrupt, this may.
        raise SystemExit(0 if followed else _TERMINATED)

    signal.signal(signal.SIGTERM, stop)
    try:
        options.run(options)
    except (BundleError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


def _fetch(options: argparse.Namespace) -> None:
    store = BundleStore(options.root)
    fetcher = Fetcher(RemoteStore(options.url), store)
    rules = None if options.keep is None else Rules(options.keep, options.grace)
    if options.follow:
        follow(lambda: fetch_once(fetcher, store, rules), options.poll)
    fetched = fetch_once(fetcher, store, rules)
    print(fetched.wanted.current)


def _push(options: argparse.Namespace) -> None:
    store = BundleStore(options.root)
    pushed = Pusher(store, RemoteStore(options.url)).push(store.find(options.version), options.hold)
    print(pushed.version)


def _release(options: argparse.Namespace) -> None:
    RemoteStore(options.url).release(options.version)


def _gc(options: argparse.Namespace) -> None:
    shelf = shelf_of(options.place)
    collected = collect(shelf, Rules(options.keep, options.grace), options.dry_run)
    for version in collected.removed:
        print(f"{'would remove' if options.dry_run else 'removed'} {version}")
    for version, left_s in collected.waiting.items():
        print(f"unused, to be removed in {left_s:.0f} s or later: {version}")


def shelf_of(place: str) -> LocalShelf | RemoteShelf:
    """Of a URL, or of a directory."""
    return RemoteShelf(RemoteStore(place)) if "://" in place else LocalShelf(BundleStore(Path(place)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bundles", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    fetch = commands.add_parser("fetch", help="bring what a URL asks services to hold into a directory")
    fetch.add_argument("url", metavar="URL", help="s3://bucket/path, gs://bucket/path, file:///path")
    fetch.add_argument("--root", type=Path, required=True, metavar="DIR", help="where services look for bundles")
    how = fetch.add_mutually_exclusive_group()
    how.add_argument("--once", action="store_true", help="end when all is here (default)")
    how.add_argument("--follow", action="store_true", help="go on looking for new ones until SIGTERM")
    fetch.add_argument("--poll", type=_positive, default=POLL_S, metavar="S", help="seconds between looks (10)")
    _collecting(fetch, keep_help="then remove others than the newest N, when unused for --grace")
    fetch.set_defaults(run=_fetch)

    push = commands.add_parser("push", help="bring a version to a URL and make it the active one there")
    push.add_argument("root", type=Path, metavar="ROOT", help="directory of bundles")
    push.add_argument("url", metavar="URL")
    push.add_argument("version", nargs="?", default="current", metavar="VERSION", help="the active one by default")
    push.add_argument("--hold", action="store_true", help="services hold it besides; the active one stays active")
    push.set_defaults(run=_push)

    release = commands.add_parser("release", help="take `push --hold` back")
    release.add_argument("url", metavar="URL")
    release.add_argument("version", metavar="VERSION")
    release.set_defaults(run=_release)

    gc = commands.add_parser("gc", help="remove versions that nobody needs")
    gc.add_argument("place", metavar="URL|ROOT")
    gc.add_argument("--dry-run", action="store_true", help="say what would be removed")
    _collecting(gc, keep_help="the newest N stay, needed or not", keep=3)
    gc.set_defaults(run=_gc)
    return parser


def _collecting(parser: argparse.ArgumentParser, keep_help: str, keep: int | None = None) -> None:
    parser.add_argument("--keep", type=_count, default=keep, metavar="N", help=keep_help)
    parser.add_argument(
        "--grace", type=_not_negative, default=GRACE_S, metavar="S", help="seconds that an unused version stays (3600)"
    )


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of versions: 0, 1, 2, ...")
    return int(text)


def _not_negative(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds: 0 or more")
    return seconds


def _positive(text: str) -> float:
    if not (seconds := _not_negative(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds: more than 0")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
