"""Where the command keeps its things: one directory with data sets, bundles, user state and the running stack.

<home>/data/<name>/        data sets (training.datasets), or links to where they lie; data/CURRENT names the one in use
<home>/bundles/<version>/  published bundles; bundles/CURRENT names the one that serves
<home>/training/<key>/     what an unfinished `train` would go on with (training.checkpoints)
<home>/valkey/<name>/      user state, one directory per data set: another set has other users, but for one that was merged from it
<home>/funnel/             the funnel log of the running stack (docs/funnel_log.md)
<home>/run/                stack.json and logs of the running stack
<home>/sourcing.igql       the query that sources candidates, for serving and for training; yours to edit
<home>/queries/NAME.igql   further queries, which experiments may name
<home>/experiments.yaml    other settings for a share of the users (docs/experiments.md)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from bundles.disk import swap_file
from bundles.store import BundleStore
from cli.errors import CommandError

_POINTER = "CURRENT"  # lies among the data sets, so none may be called so
_NAME = re.compile(rf"(?!{_POINTER}$)\w(?:[\w .-]{{0,98}}[\w.-])?")


@dataclass(frozen=True)
class Workspace:
    """The directory of one installation. `igql_file`: another query file than the directory's own."""

    home: Path
    igql_file: Path | None = None

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def takedown_file(self) -> Path:
        """Media and accounts that must not be shown. A stack makes it when it starts; need not exist before."""
        return self.home / "takedowns.txt"

    @property
    def experiments_file(self) -> Path:
        """Other settings for a share of the users; need not exist."""
        return self.home / "experiments.yaml"

    @property
    def queries(self) -> Path:
        """Directory of the queries that experiments may name; need not exist."""
        return self.home / "queries"

    @property
    def funnel(self) -> Path:
        """The funnel log."""
        return self.home / "funnel"

    @property
    def datasets(self) -> Path:
        """What holds the data sets."""
        return self.home / "data"

    def dataset(self, name: str) -> Path:
        """Where the data set of that name lies, if there is one.

        Raises CommandError for what is no name: as a path it would lead to something else, which writing a data set deletes.
        """
        if not _NAME.fullmatch(name) and not self._holds(name):
            raise CommandError(
                f"{name!r} is no name of a data set",
                f"it has up to 100 letters, digits, _, ., - and spaces, begins with a letter, digit or _, ends with no space, and "
                f"is not {_POINTER}; a directory with another name can be used by a link in {self.datasets}",
            )
        return self.datasets / name

    def _holds(self, name: str) -> bool:
        """Whether an entry has this name. One of an earlier release may have any: bundles know it by that."""
        return name != _POINTER and self.datasets.is_dir() and name in {entry.name for entry in self.datasets.iterdir()}

    def held_dataset(self, name: str) -> Path:
        """The data set of that name. Raises CommandError if it is not there."""
        place = self.dataset(name)
        if not place.is_dir():
            raise CommandError(
                f"data set {name!r} is not there: {place} is no directory", "put it there, or a link to where it lies"
            )
        return place

    def dataset_name(self, data: Path) -> str:
        """What the data set in the directory `data` is called here, wherever it lies: the name of its entry or of its directory.

        Raises CommandError if that name means another data set here.
        """
        place = data.absolute()
        if place.name != ".." and place.parent.resolve() == self.datasets.resolve():
            return place.name
        root = data.resolve()
        entry = self.dataset(root.name)
        if entry.resolve() != root and (entry.exists() or entry.is_symlink()):
            raise CommandError(
                f"data set {root.name!r} is another one here: {entry} is not {root}",
                "bundles know their data set by its name: rename the directory, or name another --home; remove the entry if no "
                "bundle needs it",
            )
        return root.name

    def register(self, data: Path) -> bool:
        """Makes the data set in the directory `data` one of this workspace, by a link if it lies elsewhere; False if it was one.

        It is then in use, if none was. Raises CommandError as `dataset_name` does.
        """
        name = self.dataset_name(data)
        entry = self.dataset(name)
        fresh = not entry.exists()
        if fresh:
            entry.parent.mkdir(parents=True, exist_ok=True)
            entry.symlink_to(data.resolve(), target_is_directory=True)
        if not (self.datasets / _POINTER).exists():
            self.use_dataset(name)
        return fresh

    @property
    def training(self) -> Path:
        """Unfinished training runs."""
        return self.home / "training"

    def user_state(self, dataset: str) -> Path:
        """The state of a data set's users. One that was merged from another one goes on with the state of that one."""
        from training.datasets.contract import INFO_FILE
        from training.datasets.lineage import origins
        from training.datasets.load import read_info

        file = self.dataset(dataset) / INFO_FILE
        made_from = origins(read_info(file), file)
        return self.home / "valkey" / (made_from[0].name if made_from else dataset)

    def bundles(self) -> BundleStore:
        return BundleStore(self.home / "bundles")

    def use_dataset(self, name: str) -> None:
        """Makes `name` the data set that `train` and `eval` take when none is named."""
        pointer = self.datasets / _POINTER
        pointer.parent.mkdir(parents=True, exist_ok=True)
        swap_file(pointer, name + "\n")

    def current_dataset(self) -> Path:
        """The data set in use. Raises CommandError if there is none."""
        pointer = self.datasets / _POINTER
        if not pointer.exists():
            raise CommandError(
                f"no data set in {self.datasets}",
                "run `explore simulate` for the synthetic one, or `explore import kuairand DIR`",
            )
        return self.dataset(pointer.read_text(encoding="utf-8").strip())

    def query_file(self) -> Path:
        """The query that sources candidates. The directory's own one begins as a copy of the default.

        Raises CommandError if another one was named that does not exist.
        """
        if self.igql_file is not None:
            if not self.igql_file.is_file():
                raise CommandError(f"there is no query file {self.igql_file}", "--igql or EXPLORE_IGQL_FILE names it")
            return self.igql_file
        own = self.home / "sourcing.igql"
        if not own.exists():
            from retrieval_svc.igql.files import DEFAULT_QUERY

            self.home.mkdir(parents=True, exist_ok=True)
            swap_file(own, DEFAULT_QUERY.read_text(encoding="utf-8"))
        return own
