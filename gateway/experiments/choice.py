"""How one request is served: the pipeline of its bundle, and the policy of its arms. Follows the experiment file as it changes."""

from __future__ import annotations

from pathlib import Path

from gateway.experiments.file import ExperimentsRefused, read_experiments
from gateway.experiments.layers import NO_EXPERIMENTS, Experiments
from gateway.experiments.settings import Settings
from gateway.experiments.terms import misfits
from gateway.page import PagePolicy
from gateway.pipeline import Pipeline
from serving.holder import Holder
from serving.watched import WatchedFile


class Choice:
    """Chooses for every request. A changed file that is broken, or asks for what no held bundle has, is refused.

    A bundle may change or go later than the file. Then the arms that it cannot serve fall back, and `note` says so. A file that was
    refused is read again whenever other bundles are held.
    """

    def __init__(self, pipelines: Holder[Pipeline], file: Path | None) -> None:
        """Raises ExperimentsRefused for a file that is broken; one that does not exist holds no experiments."""
        self._pipelines = pipelines
        self._versions: list[str] = []  # that were held when the file was last looked at
        self._file: WatchedFile[Experiments] | None = None if file is None else WatchedFile(file, self._read)

    def choose(self, user_id: str) -> tuple[Pipeline, PagePolicy]:
        """The pipeline and the policy of one request. Raises NotReady before the first bundle is loaded."""
        assignment = self._experiments().assign(user_id)
        while lacking := self._lacking(assignment.settings):
            assignment = assignment.without(lacking)
        pipeline = self._pipelines.held(assignment.settings.bundle or "").value
        return pipeline, pipeline.terms.policy(assignment)

    def note(self) -> str:
        """What is wrong with the file as it is, or with bundles for it; empty if nothing is."""
        if self._file is None:
            return ""
        lost = self._misfits(self._experiments())
        refused = self._file.refused
        notes = [f"a changed file is refused, what was before goes on: {refused}"] if refused else []
        notes += [f"arms that cannot be served fall back: {'; '.join(lost)}"] if lost else []
        return "; ".join(notes)

    def _experiments(self) -> Experiments:
        if self._file is None:
            return NO_EXPERIMENTS
        if self._versions != (versions := self._pipelines.versions()):
            self._versions = versions
            if self._file.refused:
                self._file.reconsider()
        return self._file.value()

    def _lacking(self, settings: Settings) -> str:
        """The setting that cannot be had now, empty if all can."""
        version = settings.bundle or ""
        if version and version not in self._pipelines.versions():
            return "bundle"
        return "value_weights" if self._pipelines.held(version).value.terms.refusal(settings) else ""

    def _read(self, path: Path) -> Experiments:
        experiments = read_experiments(path)
        if lost := self._misfits(experiments):
            raise ExperimentsRefused("\n".join(lost))
        return experiments

    def _misfits(self, experiments: Experiments) -> list[str]:
        versions = self._pipelines.versions()  # current first; none before the first bundle is loaded
        # Looked at, not asked for: this happens with every question for the status, and must not keep old bundles in memory.
        looked = {version: self._pipelines.peek(version) for version in versions}
        held = {version: each.value.terms for version, each in looked.items() if each is not None}
        return list(misfits(experiments, held, versions[0])) if versions else []
