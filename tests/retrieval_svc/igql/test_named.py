"""Queries by name: found when they are asked for, absent while they are broken, and never outside of their directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrieval_svc.igql.errors import IgqlError
from retrieval_svc.igql.files import QueryFile
from retrieval_svc.igql.named import NamedQueries, UnknownQuery
from retrieval_svc.igql.plan import Plan
from retrieval_svc.igql.vocabulary import Vocabulary

TRENDING, FRESH, BROKEN = "user.trending()", "user.fresh(max_age=3d)", "user.trendng()"


@pytest.fixture
def default(tmp_path: Path) -> Path:
    (tmp_path / "queries").mkdir()
    (tmp_path / "sourcing.igql").write_text(TRENDING)
    return tmp_path / "sourcing.igql"


@pytest.fixture
def directory(default: Path) -> Path:
    return default.parent / "queries"


def named(default: Path, directory: Path | None, compiled: list[Plan] | None = None) -> NamedQueries:
    return NamedQueries(default, directory, Vocabulary(), (compiled if compiled is not None else []).append)


def source(queries: NamedQueries, name: str = "") -> str:
    return queries.plan(name).sources[0].path


def test_every_file_of_the_directory_is_a_query(default: Path, directory: Path) -> None:
    (directory / "fresh.igql").write_text(FRESH)
    (directory / "notes.txt").write_text("no query")
    queries = named(default, directory)
    assert (source(queries), source(queries, "fresh"), queries.known()) == ("trending", "fresh", ["fresh"])


def test_a_file_that_comes_later_is_found_and_a_change_of_it_holds(default: Path, directory: Path) -> None:
    queries = named(default, directory)
    (directory / "new.igql").write_text(FRESH)
    assert source(queries, "new") == "fresh"
    (directory / "new.igql").write_text(TRENDING + "\n")
    assert source(queries, "new") == "trending"


def test_an_unknown_name_tells_which_there_are(default: Path, directory: Path) -> None:
    (directory / "fresh.igql").write_text(FRESH)
    with pytest.raises(UnknownQuery, match=r"^is 'frsh', which is no query of this service; known: fresh$"):
        named(default, directory).plan("frsh")
    with pytest.raises(UnknownQuery, match="known: only the default one"):
        named(default, None).plan("fresh")


@pytest.mark.parametrize("name", ["../sourcing", "/etc/passwd", "a/b", ".", "..", "", "x" * 65, "a\0b"])
def test_no_name_leads_out_of_the_directory(name: str, default: Path, directory: Path) -> None:
    queries = named(default, directory)
    if name == "":
        assert source(queries) == "trending"
        return
    with pytest.raises(UnknownQuery) as unknown:
        queries.plan(name)
    assert len(str(unknown.value)) < 300


def test_a_broken_file_is_no_query_until_it_is_corrected_and_is_not_read_again_and_again(
    default: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "mine.igql").write_text(BROKEN)
    queries = named(default, directory)
    reads: list[Path] = []
    compiling = queries._compile

    def counted(path: Path) -> QueryFile:
        reads.append(path)
        return compiling(path)

    monkeypatch.setattr(queries, "_compile", counted)
    for _ in range(3):
        with pytest.raises(UnknownQuery):
            queries.plan("mine")
    assert (reads, queries.known()) == ([], [])
    assert "mine.igql:1:6: unknown operator 'trendng'" in queries.refused
    (directory / "mine.igql").write_text(FRESH)
    assert (source(queries, "mine"), queries.refused) == ("fresh", "")


def test_a_query_that_breaks_or_goes_later_goes_on_as_it_was(default: Path, directory: Path) -> None:
    (directory / "mine.igql").write_text(FRESH)
    queries = named(default, directory)
    (directory / "mine.igql").write_text(BROKEN)
    assert source(queries, "mine") == "fresh"
    assert "unknown operator 'trendng'" in queries.refused
    (directory / "mine.igql").unlink()
    assert source(queries, "mine") == "fresh"


def test_a_broken_file_that_is_removed_is_no_problem_any_more(default: Path, directory: Path) -> None:
    (directory / "mine.igql").write_text(BROKEN)
    queries = named(default, directory)
    (directory / "mine.igql").unlink()
    with pytest.raises(UnknownQuery):
        queries.plan("mine")
    assert queries.refused == ""


def test_a_broken_default_query_is_an_error(default: Path, directory: Path) -> None:
    default.write_text(BROKEN)
    with pytest.raises(IgqlError):
        named(default, directory)


def test_every_plan_is_warmed_up_before_it_serves(default: Path, directory: Path) -> None:
    (directory / "fresh.igql").write_text(FRESH)
    compiled: list[Plan] = []
    queries = named(default, directory, compiled)
    assert compiled == [queries.plan(), queries.plan("fresh")]
