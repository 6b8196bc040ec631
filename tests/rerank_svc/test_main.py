from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pytest

from features.context import concatenate
from protos.explore.v1.ranking_pb2 import RankRequest
from protos.explore.v1.ranking_pb2_grpc import RankingServiceStub
from protos.explore.v1.status_pb2 import GetStatusRequest
from protos.explore.v1.status_pb2_grpc import StatusServiceStub
from rerank_svc.__main__ import build
from rerank_svc.config import RerankConfig
from serving.config import load
from serving.telemetry import NoTelemetry
from serving.testing import serve
from serving.wire import decode_rank_response, encode_contexts, encode_rank_request
from tests.rank_svc.published import TASKS, candidates, publish
from tests.rerank_svc.deep_graph import write
from tests.retrieval_svc.worlds import likes, user


def test_the_port_is_the_stages_own() -> None:
    assert load(RerankConfig).listen == "127.0.0.1:50054"


async def test_users_get_their_candidates_in_order_of_value(tmp_path: Path) -> None:
    bundle = publish(tmp_path, fill=write)
    asked, both = candidates([100, 999, 201, 300], [402]), concatenate([user(history=likes(100)), user("bob")])
    weights: list[dict[str, float]] = [{"negative": -1.0}, {"like": 2.0}]
    request = encode_rank_request(encode_contexts(both), asked, weights=weights, keep=[9, 9])
    async with serve(build(RerankConfig(bundle_root=tmp_path), NoTelemetry())) as channel:
        answer = await RankingServiceStub(channel).Rank(request)
    ranked = decode_rank_response(answer, "rerank", asked.offsets, [9, 9], bundle.version)
    assert ranked.offsets.tolist() == [0, 3, 4]
    assert ranked.tasks == TASKS
    assert ranked.score_M.tolist() == pytest.approx(
        [*np.sort(-ranked.probability_MT[:3, 2])[::-1], 2 * ranked.probability_MT[3, 1]]
    )


async def test_a_running_service_swaps_and_answers_pinned_requests_from_the_version_before(tmp_path: Path) -> None:
    first = publish(tmp_path, fill=write)
    async with serve(build(RerankConfig(bundle_root=tmp_path, bundle_poll_s=0.01), NoTelemetry())) as channel:
        status: Any = StatusServiceStub(channel)
        rank: Any = RankingServiceStub(channel).Rank
        second = publish(tmp_path, fill=write)
        async with asyncio.timeout(10):
            while (found := await status.GetStatus(GetStatusRequest())).bundle_version != second.version:
                continue
        answers = [await rank(_request(version)) for version in (first.version, second.version)]
        assert list(found.bundle_versions) == [second.version, first.version]
        assert (await rank(_request())).bundle_version == second.version
        assert [answer.bundle_version for answer in answers] == [first.version, second.version]
        with pytest.raises(grpc.aio.AioRpcError, match="is not held; held: "):
            await rank(_request("v0"))


def _request(version: str = "") -> RankRequest:
    contexts = encode_contexts(user(history=likes(100)))
    return encode_rank_request(contexts, candidates([100]), weights=[{}], keep=[9], bundle_version=version)
