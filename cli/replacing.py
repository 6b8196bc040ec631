"""Whether a data set may give its place to a new one of its name: only to one of the command that made it."""

from __future__ import annotations

from pathlib import Path

from cli.errors import CommandError

SIMULATE, KUAIRAND, MERGE = "explore simulate", "explore import kuairand", "explore events merge"


def refuse_loss(place: Path, command: str) -> None:
    """Raises CommandError if `command`, one of those above, would delete in `place` a data set that it did not make."""
    from training.datasets.contract import INFO_FILE

    if not (place / INFO_FILE).is_file():  # nothing, or what is no data set: nothing is ever written over that
        return
    if loss := _loss(place, command):
        raise CommandError(
            f"data set {place.name!r} is there already, in {place}, and {loss}",
            "choose another --name, or give it up with --replace",
        )


def _loss(place: Path, command: str) -> str:
    """Why the data set should stay; empty if nothing speaks for it."""
    from training.datasets.contract import INFO_FILE, TRUTH_DIR
    from training.datasets.load import read_info
    from training.errors import DatasetError

    if command != SIMULATE and (place / TRUTH_DIR).exists():
        return "its ground truth would be lost"
    try:
        made_by = str(read_info(place / INFO_FILE).get("created_by"))
    except DatasetError as error:
        return f"nobody can tell what made it: {error}"
    # What an import made names the folder, too.
    return "" if f"{made_by} ".startswith(f"{command} ") else f"it does not say that `{command}` made it"
