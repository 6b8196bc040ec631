"""Experiments on the running stack: one file, no restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.stack import describe
from tests.e2e.conftest import Served

FILE = """
layers:
  weights:
    share: 0
    arms: {only_likes: {value_weights: {like: 7.5}}}
    force: {only_likes: [42]}
  rest:
    share: 1
    arms: {all: {random_slots: {share: 1, from: 5, to: 9}, query: newest}}
"""


@pytest.fixture
def file(served: Served) -> Iterator[Path]:
    """The experiment file of the stack, which is gone again afterwards, so that other tests see the default page."""
    queries = served.workspace.queries
    queries.mkdir()
    (queries / "newest.igql").write_text("newest = user.fresh(max_age=30d, max_num_to_retrieve=2000)\nnewest")
    yield served.workspace.experiments_file
    served.workspace.experiments_file.unlink()
    (queries / "newest.igql").unlink()
    queries.rmdir()


def test_arms_change_the_next_page_and_the_page_says_so(served: Served, file: Path) -> None:
    before = served.page("42")
    file.write_text(FILE)
    forced, other = served.page("42"), served.page("43")
    assert (before.arm, before.arm_propensity, {item.propensity for item in before.items}) == ("default", 1.0, {1.0})
    assert (forced.arm, forced.arm_propensity, forced.arms_excluded) == (
        "rest=all,weights=forced:only_likes",
        1.0,
        True,
    )
    assert (dict(other.arms), other.arms_excluded) == ({"rest": "all", "weights": "control"}, False)
    for item in forced.items:
        likes = {entry.task: entry.probability for entry in item.task_probabilities}["like"]
        assert item.value == pytest.approx(7.5 * likes)
    for page in (forced, other):
        assert {item.source for item in page.items} == {"newest"}
        assert [item.position for item in page.items if item.propensity < 1] == [5, 6, 7, 8, 9]
        assert list(page.degradations) == []
        assert len({item.media_id for item in page.items}) == len(page.items) == 25


def test_a_broken_change_is_refused_with_its_line_and_what_was_before_goes_on(served: Served, file: Path) -> None:
    file.write_text(FILE)
    assert served.page("42").arms_excluded
    file.write_text(FILE.replace("like: 7.5", "lke: 7.5"))
    assert served.page("42").arm == "rest=all,weights=forced:only_likes"
    gateway = served.stack.processes[-1]
    note = describe(gateway, served.stack.ports).note
    assert "experiments.yaml:5:25: layers.weights.arms.only_likes.value_weights: bundle" in note
    assert "predicts no task 'lke'; did you mean 'like'?" in note
    file.write_text(FILE + "\n")
    served.page("42")
    assert "experiments" not in describe(gateway, served.stack.ports).note
