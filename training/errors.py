"""Why training cannot go on. Every message names the culprit (file, column, row, id or setting) and what to do.

TrainingError
├── DatasetError    a file of a data set, or of what is imported into one, breaks the data contract
├── ConfigError     a setting that no run can work with
├── UnknownId       a user or media id that the simulated world does not have
├── FitError        there is nothing to learn from, or a loss is not finite
├── EvaluationError  a bundle cannot be judged on this log
├── LeakError       a feature knows what happened only later
├── RunInUse        another process is at the same training run
└── ExportError     a graph does not compute what its network computes
"""

from __future__ import annotations


class TrainingError(Exception):
    """Training, or the preparation of its data, cannot go on."""


class DatasetError(TrainingError):
    """A file breaks the data contract; `row` counts data rows from 0, None where the whole file or column is meant."""

    def __init__(
        self,
        file: str,
        reason: str,
        advice: str,
        *,
        column: str | None = None,
        row: int | None = None,
        value: object = None,
    ) -> None:
        place = file
        if column is not None:
            place += f", column {column}"
        if row is not None:
            place += f", row {row}: value {value!r}"
        super().__init__(f"{place}: {reason}; {advice}")
        self.file = file
        self.column = column
        self.row = row
        self.value = value
        self.reason, self.advice = reason, advice

    def in_part(self, first_row: int) -> DatasetError:
        """The same, of a table of which row `first_row` was the first that the checks were shown."""
        if self.row is None:
            return self
        return DatasetError(
            self.file, self.reason, self.advice, column=self.column, row=self.row + first_row, value=self.value
        )


class ConfigError(TrainingError):
    """A setting is out of its range."""

    def __init__(self, setting: str, value: object, reason: str) -> None:
        super().__init__(f"{setting} = {value!r}: {reason}")
        self.setting = setting
        self.value = value


class UnknownId(TrainingError):
    """An id that is not in the world."""

    def __init__(self, kind: str, value: object, known: int) -> None:
        super().__init__(f"unknown {kind} {value!r}; name one of the {known} that this world has")
        self.kind = kind
        self.value = value


class FitError(TrainingError):
    """A model cannot be trained."""


class EvaluationError(TrainingError):
    """A bundle cannot be judged on what it was given."""


class LeakError(TrainingError):
    """Features look ahead: a model that learns from them is good in tests and nowhere else."""

    def __init__(self, features: tuple[str, ...]) -> None:
        super().__init__(
            f"these features change with events at or after the moment they describe: {', '.join(features)}; "
            "compute them from earlier events only"
        )
        self.features = features


class RunInUse(TrainingError):
    """Two processes cannot share the files of a run."""

    def __init__(self, directory: str) -> None:
        super().__init__(f"{directory}: another process trains with the same inputs; wait for it, or end it")


class ExportError(TrainingError):
    """A model cannot be exported."""

    def __init__(self, stage: str, problem: str) -> None:
        super().__init__(f"export of {stage}: {problem}")
        self.stage = stage
