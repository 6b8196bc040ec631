"""Training sources with the workspace's query, and says what is wrong with it as a person should see it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cli import main
from cli.commands.train import is_trained
from cli.sourcing import open_sourcing
from cli.workspace import Workspace
from retrieval_svc.igql.errors import IgqlError
from tests.retrieval_svc.published import publish, write
from tests.retrieval_svc.worlds import hand_made, likes, user

NOTHING_SEEN = np.empty(0, dtype=np.int64)


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    path = tmp_path / "staged"
    path.mkdir()
    write(hand_made(), path)
    return path


def test_candidates_are_those_of_the_query_file(staged: Path, tmp_path: Path) -> None:
    query = tmp_path / "mine.igql"
    query.write_text("user.liked().posted_media()")
    media_id_N, offsets = open_sourcing(staged, query)(user(history=likes(100)), [NOTHING_SEEN], 5)
    assert (sorted(media_id_N.tolist()), offsets.tolist()) == ([100, 101, 102], [0, 3])


def test_the_default_query_sources_where_none_is_named(staged: Path) -> None:
    media_id_N, _ = open_sourcing(staged)(user(history=likes(100)), [NOTHING_SEEN], 5)
    assert len(media_id_N) == 5


def test_a_query_that_does_not_fit_the_files_is_shown_without_a_traceback(
    staged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    query = tmp_path / "mine.igql"
    query.write_text("user.trending().filter(topics=cars)")
    with pytest.raises(IgqlError) as caught:
        open_sourcing(staged, query)

    def refused(standalone_mode: bool) -> None:
        raise caught.value

    monkeypatch.setattr(main, "build", lambda: refused)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert (ended.value.code, capsys.readouterr().err) == (1, f"{caught.value}\n")


def test_a_bundle_of_another_format_counts_as_none(tmp_path: Path) -> None:
    bundle = publish(tmp_path / "bundles")
    manifest = bundle.path / "manifest.json"
    bundle.path.chmod(0o755)
    manifest.chmod(0o644)
    manifest.write_text(json.dumps({"format_version": 1}))
    assert not is_trained(Workspace(tmp_path))
