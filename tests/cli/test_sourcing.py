"""Training sources with the workspace's query, and says what is wrong with it as a person should see it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cli import main
from cli.commands.train import is_trained
from cli.sourcing import candidates_depend_on, open_sourcing
from cli.sourcing_settings import sourcing_config
from cli.workspace import Workspace
from retrieval_svc.config import SourcingConfig
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
    media_id_N, offsets = open_sourcing(staged, SourcingConfig(igql_file=query))(
        user(history=likes(100)), [NOTHING_SEEN], 5
    )
    assert (sorted(media_id_N.tolist()), offsets.tolist()) == ([100, 101, 102], [0, 3])


def test_the_default_query_sources_where_none_is_named(staged: Path) -> None:
    media_id_N, _ = open_sourcing(staged)(user(history=likes(100)), [NOTHING_SEEN], 5)
    assert len(media_id_N) == 5


def test_candidates_are_those_that_the_environment_allows(
    staged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = tmp_path / "mine.igql"
    query.write_text("user.liked().posted_media()")
    monkeypatch.setenv("EXPLORE_MAX_MEDIA_AGE_HOURS", "80")
    media_id_N, _ = open_sourcing(staged, sourcing_config(query))(user(history=likes(100)), [NOTHING_SEEN], 5)
    assert media_id_N.tolist() == [102]


def test_a_run_is_not_resumed_under_other_rules_or_with_another_query(tmp_path: Path) -> None:
    one, same, other = (tmp_path / name for name in ("one.igql", "same.igql", "other.igql"))
    for file, text in ((one, "user.trending()"), (same, "user.trending()"), (other, "user.fresh()")):
        file.write_text(text)
    flags = ("graphic", "nudity", "satire", "spam")
    allowed = SourcingConfig(igql_file=one, allowed_policy_flags=frozenset(flags))
    reordered = SourcingConfig(igql_file=same, allowed_policy_flags=frozenset(reversed(flags)))
    assert candidates_depend_on(allowed) == candidates_depend_on(reordered)
    different = [
        SourcingConfig(igql_file=one),
        SourcingConfig(igql_file=other),
        SourcingConfig(igql_file=one, non_recommendable_threshold=0.3),
        SourcingConfig(igql_file=one, missing_integrity_score="deny"),
        SourcingConfig(igql_file=one, max_media_age_hours=48),
        allowed,
    ]
    assert len({candidates_depend_on(config) for config in different}) == len(different)


def test_a_query_that_does_not_fit_the_files_is_shown_without_a_traceback(
    staged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    query = tmp_path / "mine.igql"
    query.write_text("user.trending().filter(topics=cars)")
    with pytest.raises(IgqlError) as caught:
        open_sourcing(staged, SourcingConfig(igql_file=query))

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
