from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from retrieval_svc.igql import files
from retrieval_svc.igql.errors import IgqlError
from retrieval_svc.igql.files import DEFAULT_QUERY, QueryFile, compile_file, read_query
from retrieval_svc.igql.plan import Plan
from retrieval_svc.igql.vocabulary import Vocabulary

TRENDING, FRESH, BROKEN = "user.trending()", "user.fresh(max_age=3d)", "user.trendng()"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "explore.igql"
    path.write_text(TRENDING)
    return path


def served(query: QueryFile) -> list[str]:
    return [source.path for source in query.plan().sources]


def replace(path: Path, text: str) -> None:
    other = path.with_suffix(".new")
    other.write_text(text)
    os.replace(other, path)


@pytest.mark.parametrize("write", [Path.write_text, replace], ids=["in place", "replaced"])
def test_a_change_holds_from_the_next_look_on(path: Path, write: Callable[[Path, str], object]) -> None:
    query = QueryFile(path, Vocabulary())
    assert served(query) == ["trending"]
    write(path, FRESH)
    assert served(query) == ["fresh"]
    assert query.refused == ""


def test_a_broken_change_leaves_the_plan_and_says_why(path: Path) -> None:
    query = QueryFile(path, Vocabulary())
    before = query.plan()
    path.write_text(f"# a slip\n{BROKEN}")
    assert query.plan() is before
    assert query.refused.split("\n") == [
        "explore.igql:2:6: unknown operator 'trendng'",
        "  user.trendng()",
        "       ^^^^^^^",
        "did you mean 'trending'?",
    ]


def test_a_mark_that_editors_begin_a_file_with_is_no_part_of_the_query(path: Path) -> None:
    path.write_text(f"\ufeff{FRESH}")
    assert served(QueryFile(path, Vocabulary())) == ["fresh"]


def test_a_repaired_file_serves_again(path: Path) -> None:
    query = QueryFile(path, Vocabulary())
    for text, expected, refused in [(BROKEN, "trending", True), (FRESH, "fresh", False), (BROKEN + " ", "fresh", True)]:
        path.write_text(text)
        assert served(query) == [expected]
        assert bool(query.refused) == refused
    path.write_text(TRENDING)
    assert (served(query), query.refused) == (["trending"], "")


def test_a_deleted_file_changes_nothing_until_it_comes_back(path: Path) -> None:
    query = QueryFile(path, Vocabulary())
    path.unlink()
    assert served(query) == ["trending"]
    assert query.refused.startswith("explore.igql:1:1: cannot be read: No such file or directory")
    path.write_text(FRESH)
    assert (served(query), query.refused) == (["fresh"], "")


def test_a_mounted_config_map_is_followed_through_its_links(tmp_path: Path) -> None:
    for version, text in (("..1", TRENDING), ("..2", FRESH)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "explore.igql").write_text(text)
        os.utime(tmp_path / version / "explore.igql", ns=(0, 0))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "explore.igql").symlink_to("..data/explore.igql")
    query = QueryFile(tmp_path / "explore.igql", Vocabulary())
    assert served(query) == ["trending"]
    (tmp_path / "..new").symlink_to("..2")
    os.replace(tmp_path / "..new", tmp_path / "..data")
    assert served(query) == ["fresh"]


def test_a_service_does_not_start_without_a_good_file(tmp_path: Path) -> None:
    path = tmp_path / "explore.igql"
    with pytest.raises(IgqlError, match=r"^explore.igql:1:1: cannot be read: No such file or directory") as missing:
        QueryFile(path, Vocabulary())
    assert str(missing.value).endswith(f"put the query at {path}, or name another file")
    with pytest.raises(IgqlError, match="cannot be read: Is a directory") as directory:
        QueryFile(tmp_path, Vocabulary())
    assert f"{tmp_path} must be a file" in str(directory.value)
    path.write_text(BROKEN)
    with pytest.raises(IgqlError, match=r"^explore.igql:1:6: unknown operator 'trendng'"):
        QueryFile(path, Vocabulary())
    path.write_bytes(b"user.trending() # \xff\xfe")
    with pytest.raises(IgqlError, match=r"^explore.igql:1:1: cannot be read: is no UTF-8 text"):
        QueryFile(path, Vocabulary())


def test_unreadable_bytes_and_unknown_names_are_refused_while_serving(path: Path) -> None:
    query = QueryFile(path, Vocabulary(windows_ms=()))
    path.write_bytes(b"\xff")
    assert served(query) == ["trending"]
    assert "is no UTF-8 text" in query.refused
    path.write_text("user.trending(window=24h)")
    assert served(query) == ["trending"]
    assert "no window of 24h is published with the bundle" in query.refused


def test_a_plan_is_prepared_before_it_serves(path: Path) -> None:
    prepared: list[Plan] = []
    query = QueryFile(path, Vocabulary(), prepared.append)
    assert prepared == [query.plan()]
    path.write_text(BROKEN)
    query.plan()
    assert len(prepared) == 1
    path.write_text(FRESH)
    assert prepared[1:] == []
    assert query.plan() is prepared[1]
    assert query.plan() is prepared[1]
    assert len(prepared) == 2


@pytest.mark.parametrize("error", [ValueError, RecursionError])
def test_a_plan_that_cannot_be_prepared_does_not_serve(path: Path, error: type[Exception]) -> None:
    def prepare(plan: Plan) -> None:
        if plan.sources[0].path == "fresh":
            raise error("does not fit")

    query = QueryFile(path, Vocabulary(), prepare)
    path.write_text(FRESH)
    assert served(query) == ["trending"]
    assert "does not fit" in query.refused


@pytest.mark.parametrize("text", [TRENDING, BROKEN])
def test_an_unchanged_file_is_compiled_once(path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    query = QueryFile(path, Vocabulary())
    compiled: list[Path] = []

    def counting(path: Path, vocabulary: Vocabulary) -> Plan:
        compiled.append(path)
        return compile_file(path, vocabulary)

    monkeypatch.setattr(files, "compile_file", counting)
    path.write_text(text + "#")
    for _ in range(5):
        query.plan()
    assert compiled == [path]


def test_many_threads_get_the_old_plan_or_the_new_one(path: Path) -> None:
    prepared: list[Plan] = []
    query = QueryFile(path, Vocabulary(), prepared.append)
    seen: list[Plan] = []
    replace(path, FRESH)
    threads = [threading.Thread(target=lambda: seen.append(query.plan())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8
    assert {id(plan) for plan in seen} <= {id(plan) for plan in prepared}
    assert served(query) == ["fresh"]
    assert len(prepared) == 2


def test_the_default_file_fits_every_bundle() -> None:
    assert [source.name for source in compile_file(DEFAULT_QUERY, Vocabulary(topics=())).sources][-1] == "fresh"
    assert read_query(DEFAULT_QUERY).endswith("\n")
