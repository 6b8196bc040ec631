"""How the replicas of a stage are written down, and looked up."""

from __future__ import annotations

import pytest

from serving.addresses import resolve, split, split_shards


@pytest.mark.parametrize(
    ("written", "fixed", "names"),
    [
        ("rank:50053", ["rank:50053"], []),
        ("10.0.0.1:1, [::1]:2,10.0.0.1:1", ["10.0.0.1:1", "[::1]:2"], []),
        ("dns:///rank.explore:50053", [], [("rank.explore", 50053)]),
        ("dns:///[::1]:2,a:3", ["a:3"], [("::1", 2)]),
        ("unix:/run/explore/rank.sock,a:3", ["unix:/run/explore/rank.sock", "a:3"], []),
    ],
)
def test_one_address_a_list_and_a_name(written: str, fixed: list[str], names: list[tuple[str, int]]) -> None:
    assert split(written) == (fixed, names)


@pytest.mark.parametrize(
    "written",
    ["", "rank", "rank:99999", "a:1,", "a:1,,b:2", "dns:///rank", "dns://1.1.1.1/a:1", "dns:///unix:/a", "unix:a"],
)
def test_anything_else_is_refused_with_what_is_allowed(written: str) -> None:
    with pytest.raises(ValueError, match="must be HOST:PORT or dns:///HOST:PORT"):
        split(written)


def test_shards_are_in_order_each_with_its_replicas() -> None:
    assert split_shards("a:1") == ["a:1"]
    assert split_shards("a:1,b:2; dns:///c:3") == ["a:1,b:2", "dns:///c:3"]


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("", "must be HOST:PORT or dns:///HOST:PORT"),
        ("a:1;", "shard 1 of 2 has no address"),
        ("a:1;;b:2", "shard 1 of 3 has no address"),
        ("a:1;b", "shard 1 of 2: 'b' must be HOST:PORT"),
        ("a:1,b:2;b:2", "b:2 is an address of shard 0 and of shard 1"),
        ("dns:///a:1;dns:///a:1", "dns:///a:1 is an address of shard 0 and of shard 1"),
        (";".join(f"a:{port}" for port in range(1, 1026)), "lists 1025 shards, at most 1024"),
    ],
)
def test_shards_that_cannot_be_called_are_refused_by_number(written: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        split_shards(written)


async def test_every_address_of_a_name_is_found_in_a_form_that_can_be_called() -> None:
    assert "127.0.0.1:7" in await resolve("localhost", 7)
    assert await resolve("::1", 7) == ["[::1]:7"]


@pytest.mark.parametrize("host", ["nobody.invalid", "x" * 70, "a..b"])
async def test_a_name_that_nobody_can_have_is_an_error(host: str) -> None:
    with pytest.raises(OSError):
        await resolve(host, 7)
