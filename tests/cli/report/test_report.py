"""The report page: every figure is there and linked, and what cannot be shown is said."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundles.errors import SchemaMismatch
from cli.progress import steps
from cli.report import page
from cli.report.measure import Findings, measure
from cli.workspace import Workspace
from tests.variants import variant
from training.bundle_evaluation import Ablation
from training.metrics import Interval

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(name="found", scope="module")
def _found(trained: Workspace) -> Findings:
    with steps() as progress:
        return measure(trained, trained.bundles().find("active"), None, 10, progress)


def written(found: Findings, folder: Path) -> str:
    return page.write(found, folder).read_text()


def bare(found: Findings, **fields: Any) -> Findings:
    """Findings of a manifest without metrics, which are quick to draw."""
    manifest = found.manifest.model_copy(update={"metrics": {}, **fields})
    return Findings(manifest, None, unmeasured="no data", unmapped="no vectors")


def words(html: str) -> str:
    return " ".join(unescape(re.sub("<[^>]*>", " ", html.partition("<body>")[2])).split())


def test_the_page_links_every_figure_and_no_other_file(found: Findings, tmp_path: Path) -> None:
    html = written(found, tmp_path / "report")
    images, links = (set(re.findall(f'{name}="([^"#][^"]*)"', html)) for name in ("src", "href"))
    there = {path.name for path in (tmp_path / "report").iterdir()} - {"index.html"}
    assert images == links == there
    tasks = len(found.manifest.tasks)
    assert len(there) == 3 + 3 + 2 * tasks + 2 + 4 + 1
    assert all((tmp_path / "report" / name).read_bytes().startswith(PNG) for name in there)
    assert set(re.findall(r'href="#([^"]*)"', html)) == set(re.findall(r'<h2 id="([^"]*)"', html))
    assert html.count('alt=""') == 0
    assert "Not shown" not in html


def test_the_page_says_what_the_bundle_is(found: Findings, tmp_path: Path) -> None:
    said = words(written(found, tmp_path))
    manifest = found.manifest
    assert all(fact in said for fact in (manifest.version, "simulated", "torch", ", ".join(manifest.tasks)))
    assert "Test window of 'simulated'" in said  # the table of `explore train`
    assert found.figures is not None
    click = found.figures["bundles"]["A"]["stages"]["rerank"]["click"]["ece"]["mean"]
    assert f"{click:.4f} [" in said


def test_a_data_set_that_is_gone_leaves_what_training_measured(trained: Workspace, tmp_path: Path) -> None:
    store = trained.bundles()
    lost = variant(store, store.find("active"), dataset="lost").version
    with steps() as progress:
        found = measure(trained, lost, None, 10, progress)
    html = written(found, tmp_path)
    assert words(html).count("data set 'lost' is not there") == 2  # quality, inputs
    assert {"funnel_recall.png", "curve_rank.png", "calibration_rank_click.png", "accounts.png"} <= set(
        re.findall(r'src="([^"]*)"', html)
    )


def test_a_bundle_of_other_features_is_shown_as_far_as_its_manifest_goes(trained: Workspace, tmp_path: Path) -> None:
    store = trained.bundles()
    foreign = variant(store, store.find("active"), schema_fingerprint="f00d", metrics={}).version
    with steps() as progress:
        found = measure(trained, foreign, None, 10, progress)
        with pytest.raises(SchemaMismatch):  # a data set that was asked for by name is no matter of luck
            measure(trained, foreign, trained.current_dataset(), 10, progress)
    assert "train again with this release" in words(written(found, tmp_path))


def test_a_manifest_without_metrics_makes_a_page(found: Findings, tmp_path: Path) -> None:
    said = words(written(bare(found), tmp_path))
    assert said.count("Not shown: no data") == 3
    assert "Not shown: no vectors" in said
    assert "Not shown: the manifest holds no learning curves" in said


def test_an_undefined_task_is_said_and_drawn(found: Findings, tmp_path: Path) -> None:
    assert found.figures is not None
    nothing = {"mean": None, "low": None, "high": None}
    stages = {
        stage: {
            task: {**of, **({"auc": nothing, "gauc": nothing} if task == "negative" else {})}
            for task, of in tasks.items()
        }
        for stage, tasks in found.figures["bundles"]["A"]["stages"].items()
    }
    undefined = Interval(float("nan"), float("nan"), float("nan"))
    ablations = {
        stage: [Ablation(one.name, one.kind, {**one.loss, "negative": undefined}) for one in ablations]
        for stage, ablations in found.ablations.items()
    }
    figures = {**found.figures, "bundles": {"A": {**found.figures["bundles"]["A"], "stages": stages}}}
    html = written(replace(bare(found), figures=figures, ablations=ablations), tmp_path)
    assert "negative: every impression of the window has the same label" in words(html)
    assert "negative" not in re.findall(r'src="auc.png" alt="([^"]*)"', html)[0]


def test_accounts_without_topics_are_drawn_and_said(found: Findings, tmp_path: Path) -> None:
    assert found.accounts is not None
    accounts = replace(found.accounts, topics=(), topic_I=np.full_like(found.accounts.topic_I, -1))
    assert "the data set has no topics" in words(written(replace(bare(found), accounts=accounts), tmp_path))


def test_losses_of_the_student_are_a_table_where_training_compared_them(found: Findings, tmp_path: Path) -> None:
    interval = {"mean": 0.5, "low": 0.25, "high": 0.75}
    table = {"list_mle": {"recall_page": interval, "ndcg": interval}, "softmax": {"funnel_value": interval}}
    compared = {"student_losses": {"chosen": "softmax", "table": table}}
    said = words(written(bare(found, metrics=compared), tmp_path))
    assert "list_mle 0.5000 [0.2500, 0.7500] - 0.5000 [0.2500, 0.7500] -" in said
    assert "softmax (chosen) - - - 0.5000 [0.2500, 0.7500]" in said


def test_names_from_outside_are_text_and_no_markup(found: Findings, tmp_path: Path) -> None:
    html = written(bare(found, command="explore train --data '<script>'"), tmp_path)
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
