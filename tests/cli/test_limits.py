"""Numbers that are too large are wrong usage, told before anything is read: beyond them libraries overflow or say nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from cli.limits import MAX_SEED
from cli.main import build
from retrieval_svc.config import RetrievalConfig
from retrieval_svc.limits import MAX_COUNT


def _explore(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(build(), ["--home", str(home), *arguments])


@pytest.mark.parametrize(
    ("command", "largest"),
    [
        (("train", "--seed"), MAX_SEED),
        (("eval", "--seed"), MAX_SEED),
        (("simulate", "--seed"), MAX_SEED),
        (("igql", "run", "mine.igql", "--user", "ann", "--count"), MAX_COUNT),
        (("igql", "explain", "mine.igql", "--user", "ann", "--count"), MAX_COUNT),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_a_number_that_is_too_large_is_wrong_usage(command: tuple[str, ...], largest: int, tmp_path: Path) -> None:
    for number in (largest + 1, 2**63 - 1 if largest < 2**63 - 1 else 2**64, 99999999999999999999):
        done = _explore(tmp_path, *command, str(number))
        assert (done.exit_code, command[-1] in done.stderr) == (2, True), done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("option", "command"), [("--memory", "train"), ("--test-hours", "eval")])
@pytest.mark.parametrize("number", ["inf", "1e300"])
def test_an_amount_without_an_end_is_wrong_usage(option: str, command: str, number: str, tmp_path: Path) -> None:
    done = _explore(tmp_path, command, option, number)
    assert (done.exit_code, option in done.stderr) == (2, True)


def test_the_largest_seed_is_one_for_all_generators() -> None:
    torch.Generator().manual_seed(MAX_SEED + 1)  # what a step makes of it (training.ig2vec_quality)


def test_as_many_candidates_are_shown_as_the_service_gives() -> None:
    assert RetrievalConfig().max_count == MAX_COUNT
