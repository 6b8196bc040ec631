"""Exported graphs: the same numbers, any number of candidates and users, and a refusal that fires."""

from __future__ import annotations

import copy
import inspect
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from features.dense import FEATURES, FINGERPRINT
from features.schema import Stage, of_stage
from tests.training.models.worlds import TASKS, item_table, ranking_set
from training.errors import ExportError
from training.export import TOLERANCE, export_prerank, export_rank, export_rerank, parity
from training.fit import FitConfig
from training.models.architecture import Architecture
from training.models.calibration import Calibrated
from training.models.candidate_rows import stage_columns
from training.models.graph_inputs import Inputs, deep_inputs, dense_inputs
from training.models.student import PrerankStudent
from training.rankers import RankConfig, RerankConfig, TrainedRank, TrainedRerank, train_rank, train_rerank

pytestmark = pytest.mark.long

ROWS = ranking_set(100, related_weight=1.0)
FIT = FitConfig(epochs=1)


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(name="deep", scope="module")
def _deep() -> TrainedRerank:
    return train_rerank(RerankConfig(fit=FIT), ROWS, ROWS, item_table())


@pytest.fixture(name="light", scope="module")
def _light() -> TrainedRank:
    return train_rank(RankConfig(fit=FIT), ROWS, ROWS)


@pytest.fixture(name="rerank_graph", scope="module")
def _rerank_graph(deep: TrainedRerank, folder: Path) -> Path:
    assert export_rerank(deep, item_table(), ROWS, folder / "rerank.onnx") <= TOLERANCE
    return folder / "rerank.onnx"


@pytest.fixture(name="rank_graph", scope="module")
def _rank_graph(light: TrainedRank, folder: Path) -> Path:
    assert export_rank(light, ROWS, folder / "new" / "rank.onnx") <= TOLERANCE
    return folder / "new" / "rank.onnx"


def deep_batch(trained: TrainedRerank, n: int, b: int) -> dict[str, NDArray[np.generic]]:
    """`n` candidates of `b` users in turn, cut out of real ones."""
    real = next(deep_inputs(ROWS, item_table(), trained.embeddings.tables()))
    users = {name: column[:b] for name, column in real.items() if name.startswith("history")}
    of_candidates = [name for name in real if name.startswith(("dense", "item", "related"))]
    candidates = {name: np.resize(real[name], (n, *real[name].shape[1:])) for name in of_candidates}
    return candidates | users | {"user_N": np.arange(n, dtype=np.int64) % b}


@pytest.mark.parametrize(("n", "b"), [(1, 1), (2, 1), (500, 8), (500, 1), (8, 8), (0, 1)])
def test_the_deep_graph_takes_any_number_of_candidates_and_users(
    deep: TrainedRerank, rerank_graph: Path, n: int, b: int
) -> None:
    batch = deep_batch(deep, n, b)
    (found,) = onnxruntime.InferenceSession(rerank_graph).run(None, batch)
    order = list(inspect.signature(deep.model.forward).parameters)
    expected = deep.calibration(deep.model(*(torch.from_numpy(batch[name]) for name in order)))
    assert np.allclose(found, expected.detach().numpy(), atol=TOLERANCE)


def test_the_deep_graph_answers_what_training_evaluated(deep: TrainedRerank, rerank_graph: Path) -> None:
    session = onnxruntime.InferenceSession(rerank_graph)
    first, *_ = deep_inputs(ROWS.select(slice(0, 8)), item_table(), deep.embeddings.tables())
    (found,) = session.run(None, dict(first))
    assert np.allclose(found, deep.probabilities(ROWS)[: len(found)], atol=TOLERANCE)


@pytest.mark.parametrize("n", [0, 1, 2, 500])
def test_the_light_graph_takes_any_number_of_candidates(light: TrainedRank, rank_graph: Path, n: int) -> None:
    dense_NF = ROWS.dense_NF[:n]
    (found,) = onnxruntime.InferenceSession(rank_graph).run(["probability_NT"], {"dense_NF": dense_NF})
    assert np.allclose(found, light.probabilities(ROWS)[:n], atol=TOLERANCE)


@pytest.mark.parametrize("stage", ["rank", "rerank"])
def test_percentiles_and_knots_are_inside_the_graph(folder: Path, stage: str) -> None:
    path, ends = folder / f"percentile_{stage}.onnx", [-15.0, 15.0]
    head = (np.array([ends[0], -1.0, 0.5, ends[1]]), np.array([ends[0], -2.0, 2.0, ends[1]]))
    if stage == "rank":
        light = train_rank(RankConfig(fit=FIT, input="percentile"), ROWS, ROWS)
        light.calibration.set_knots([head] * 3)
        assert export_rank(light, ROWS, path) <= 1e-5
    else:
        deep = train_rerank(RerankConfig(fit=FIT, input="percentile"), ROWS, ROWS, item_table())
        deep.calibration.set_knots([head] * 3)
        assert export_rerank(deep, item_table(), ROWS, path) <= 1e-5


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture("ple", "dcn", wide=True),
        Architecture("ple", levels=2),
        Architecture("mmoe", "masknet", wide=True),
        Architecture("ple", "dcn", regression=True),
    ],
    ids=str,
)
def test_every_block_is_inside_the_graph(folder: Path, architecture: Architecture) -> None:
    """Compared on real rows and on NaN and infinite ones by the export itself; here without candidates, too."""
    deep = train_rerank(RerankConfig(fit=FIT, architecture=architecture), ROWS, ROWS, item_table())
    if deep.model.blend is not None:
        deep.model.blend.share.fill_(0.5)  # whatever was chosen on these few rows
    assert export_rerank(deep, item_table(), ROWS, folder / "blocks.onnx") <= 1e-5
    (found,) = onnxruntime.InferenceSession(folder / "blocks.onnx").run(None, deep_batch(deep, 0, 1))
    assert found.shape == (0, len(TASKS))


def test_the_prerank_graph_scores_its_own_features(folder: Path) -> None:
    student, path = PrerankStudent(of_stage(FEATURES, Stage.PRERANK)), folder / "prerank.onnx"
    export_prerank(student, ROWS, path)
    dense_NF = ROWS.dense_NF[:3, stage_columns(Stage.PRERANK)]
    (score_N,) = onnxruntime.InferenceSession(path).run(["score_N"], {"dense_NF": dense_NF})
    assert score_N.shape == (3,)


def test_a_graph_says_what_it_was_made_of(rank_graph: Path, rerank_graph: Path) -> None:
    for path, stage in ((rank_graph, "rank"), (rerank_graph, "rerank")):
        said = {prop.key: prop.value for prop in onnx.load(path).metadata_props}
        assert (said["stage"], said["schema_fingerprint"]) == (stage, FINGERPRINT)
        assert json.loads(said["features"]) == [feature.name for feature in FEATURES]
        assert json.loads(said["tasks"]) == list(TASKS)


def test_a_graph_is_one_file_without_paths_of_the_machine_that_made_it(rerank_graph: Path) -> None:
    assert [path.name for path in rerank_graph.parent.glob("rerank*")] == ["rerank.onnx"]
    assert b".py" not in rerank_graph.read_bytes()


def test_export_is_silent(light: TrainedRank, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    export_rank(light, ROWS, folder / "silent.onnx")
    assert capfd.readouterr() == ("", "")


class OffByALittle(nn.Module):
    """A network that its graph does not agree with."""

    def __init__(self, network: nn.Module, difference: float) -> None:
        super().__init__()
        self.network, self.difference = network, difference

    def forward(self, dense_NF: torch.Tensor) -> torch.Tensor:
        return self.network(dense_NF) + self.difference


@pytest.mark.parametrize("difference", [2e-4, float("nan")])
def test_a_graph_that_differs_from_its_network_is_refused(
    light: TrainedRank, rank_graph: Path, difference: float
) -> None:
    other = OffByALittle(Calibrated(light.model, light.calibration), difference)
    with pytest.raises(
        ExportError, match=r"export of rank: graph and network differ by (0.0002\d*|nan), allowed are 0.0001"
    ):
        parity(other, rank_graph.read_bytes(), Stage.RANK, dense_inputs(ROWS, Stage.RANK))


def test_a_refused_graph_is_not_written(light: TrainedRank, folder: Path) -> None:
    light = copy.deepcopy(light)
    light.model.heads.bias.data.fill_(float("nan"))
    with pytest.raises(ExportError):
        export_rank(light, ROWS, folder / "refused.onnx")
    assert not (folder / "refused.onnx").exists()


def test_a_graph_that_was_compared_on_nothing_is_refused(light: TrainedRank, rank_graph: Path) -> None:
    with pytest.raises(ExportError, match="no candidates to compare"):
        parity(light.model, rank_graph.read_bytes(), Stage.RANK, [])


def test_inputs_for_the_comparison_include_missing_values_and_empty_histories(deep: TrainedRerank) -> None:
    batches: list[Inputs] = list(deep_inputs(ROWS, item_table(), deep.embeddings.tables()))
    assert {len(batch["history_BLK"]) for batch in batches} >= {1, 8}
    assert any(np.isnan(batch["dense_NF"]).any() for batch in batches[:-1])
    assert any(not batch["history_action_BL"].any(axis=1).all() for batch in batches)
