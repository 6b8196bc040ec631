from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import numpy as np
import pytest

from features.actions import Action
from features.context import UserContexts, concatenate
from protos.explore.v1.retrieval_pb2 import RetrieveRequest, RetrieveResponse
from protos.explore.v1.retrieval_pb2_grpc import RetrievalServiceStub
from protos.explore.v1.status_pb2 import GetStatusRequest
from protos.explore.v1.status_pb2_grpc import StatusServiceStub
from retrieval_svc.__main__ import build
from retrieval_svc.config import RetrievalConfig
from serving.telemetry import NoTelemetry
from serving.testing import serve
from serving.wire import SeenMedia, decode_retrieve_response, encode_contexts
from tests.retrieval_svc.published import publish
from tests.retrieval_svc.worlds import NOW, likes, user

QUERY = """
similar = user.let(seed_id=user_id).liked().account_nn().posted_media().rank().diversify_by(seed_id)
engaged = user.liked().posted_media().rank()
trending = user.trending()
mix(similar=0.4, engaged=0.3, trending=0.3)
"""


@pytest.fixture
async def channel(tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    publish(tmp_path / "bundles")
    (tmp_path / "sourcing.igql").write_text(QUERY)
    config = RetrievalConfig(
        bundle_root=tmp_path / "bundles",
        max_count=50,
        igql_file=tmp_path / "sourcing.igql",
        igql_directory=tmp_path / "queries",
    )
    async with serve(build(config, NoTelemetry())) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> RetrievalServiceStub:
    return RetrievalServiceStub(channel)


def request(contexts: UserContexts, counts: list[int], seen: list[int] | None = None) -> RetrieveRequest:
    """A request in which the first user has seen `seen`."""
    seen_S = np.array(seen or [], dtype=np.int64)
    offsets = np.array([0] + [len(seen_S)] * len(contexts))
    users = encode_contexts(contexts, SeenMedia(offsets, seen_S))
    return RetrieveRequest(request_id="r", users=users, counts=counts)


async def test_users_get_their_candidates_best_first(stub: RetrievalServiceStub) -> None:
    asked = request(concatenate([user(history=likes(100)), user("bob")]), [50, 3], [101, 202])
    found = decode_retrieve_response(await stub.Retrieve(asked), "retrieval", [50, 3])
    ann, bob = (found.media_id_N[found.offsets[b] : found.offsets[b + 1]].tolist() for b in range(2))
    assert sorted(ann) == [100, 102, 200, 201, 300, 301, 302, 400, 401]
    assert bob[0] == 302
    assert len(bob) == 3


async def test_the_report_names_what_was_dropped_and_why(stub: RetrievalServiceStub) -> None:
    history = [*likes(100), (300, Action.HIDE, NOW - 1)]
    answer: RetrieveResponse = await stub.Retrieve(request(user(history=history), [50], [202]))
    trending = next(source for source in answer.reports[0].sources if source.source == "trending")
    assert trending.path == "trending > mix"
    assert trending.proposed == trending.kept + sum(trending.dropped.values())
    assert {reason: trending.dropped[reason] for reason in ("seen", "not_recommendable", "hidden_author")} == {
        "seen": 1,
        "not_recommendable": 1,
        "hidden_author": 3,
    }


@pytest.mark.parametrize(
    ("counts", "complaint"),
    [([0], r"counts\[0\]"), ([51], r"counts\[0\] is 51, must be at most 50"), ([1, 1], "counts has 2 entries")],
)
async def test_wrong_counts_are_the_callers_mistake(
    stub: RetrievalServiceStub, counts: list[int], complaint: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match=complaint) as failure:
        await stub.Retrieve(request(user(), counts))
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_another_bundle_is_not_served_by_this_one(stub: RetrievalServiceStub) -> None:
    asked = request(user(), [1])
    asked.bundle_version = "20200101T000000.000Z-000000000000"
    with pytest.raises(grpc.aio.AioRpcError, match="is not held") as failure:
        await stub.Retrieve(asked)
    assert failure.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_request_may_name_a_query_per_user(stub: RetrievalServiceStub, tmp_path: Path) -> None:
    (tmp_path / "queries").mkdir()
    (tmp_path / "queries" / "new.igql").write_text("new = user.fresh(max_age=30d)\nnew")
    asked = request(concatenate([user(history=likes(100)), user("bob")]), [10, 10])
    asked.queries.extend(["", "new"])
    answer: RetrieveResponse = await stub.Retrieve(asked)
    found = decode_retrieve_response(answer, "retrieval", [10, 10])
    bobs = {found.source(row) for row in range(*found.offsets[1:].tolist())}
    assert bobs == {"new"}
    assert [source.source for source in answer.reports[1].sources] == ["new"]
    assert {source.source for source in answer.reports[0].sources} == {"engaged", "similar", "trending"}


@pytest.mark.parametrize(
    ("queries", "complaint"),
    [
        (["old"], r"queries\[0\] is 'old', which is no query of this service; known: only the default one"),
        (["", ""], "queries has 2 entries, expected one for each of 1 users"),
    ],
)
async def test_a_wrong_query_is_the_callers_mistake(
    stub: RetrievalServiceStub, queries: list[str], complaint: str
) -> None:
    asked = request(user(), [1])
    asked.queries.extend(queries)
    with pytest.raises(grpc.aio.AioRpcError, match=complaint) as failure:
        await stub.Retrieve(asked)
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_queries_of_very_many_sources_must_be_asked_for_one_by_one(
    stub: RetrievalServiceStub, tmp_path: Path
) -> None:
    (tmp_path / "queries").mkdir()
    for name in "abcde":
        sources = [f"{name}{i}" for i in range(60)]
        lines = [f"{source} = user.fresh(max_age={i + 1}d)" for i, source in enumerate(sources)]
        (tmp_path / "queries" / f"{name}.igql").write_text(
            "\n".join([*lines, f"mix({', '.join(f'{s}=1' for s in sources)})"])
        )
    asked = request(concatenate([user(f"user-{name}") for name in "abcde"]), [1] * 5)
    asked.queries.extend("abcde")
    with pytest.raises(grpc.aio.AioRpcError, match="queries have 300 sources together, at most 256 fit into a call"):
        await stub.Retrieve(asked)


async def test_the_next_request_sees_a_changed_query_and_none_sees_a_broken_one(
    stub: RetrievalServiceStub, channel: grpc.aio.Channel, tmp_path: Path
) -> None:
    status_of = StatusServiceStub(channel).GetStatus
    file = tmp_path / "sourcing.igql"

    async def sources() -> list[str]:
        answer: RetrieveResponse = await stub.Retrieve(request(user(history=likes(100)), [10]))
        return sorted(set(answer.candidates.sources))

    assert await sources() == ["engaged", "similar", "trending"]
    file.write_text("new = user.fresh(max_age=30d)\nnew")
    assert await sources() == ["new"]
    file.write_text("new = user.frsh()\nnew")
    assert await sources() == ["new"]
    status = await status_of(GetStatusRequest())
    assert "sourcing.igql:1:12: unknown operator 'frsh'" in status.note
    assert "did you mean 'fresh'?" in status.note
    file.write_text(QUERY)
    assert await sources() == ["engaged", "similar", "trending"]
    assert (await status_of(GetStatusRequest())).note == ""
