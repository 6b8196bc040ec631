from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from features.context import UserContexts, concatenate
from features.schema import Stage
from protos.explore.v1.ranking_pb2_grpc import RankingServiceStub
from rank_svc.__main__ import build
from rank_svc.config import RankConfig
from serving.config import load
from serving.telemetry import NoTelemetry
from serving.testing import serve
from serving.wire import decode_rank_response, encode_contexts, encode_rank_request
from tests.rank_svc.published import TASKS, candidates, dense_graph, publish, write_model
from tests.retrieval_svc.worlds import likes, user


def users() -> UserContexts:
    return concatenate([user(history=likes(100)), user("bob")])


def test_the_port_is_the_stages_own() -> None:
    assert load(RankConfig).listen == "127.0.0.1:50053"


async def test_the_best_known_candidates_of_each_user_come_back_in_order(tmp_path: Path) -> None:
    graph = dense_graph(Stage.RANK, "probability_NT", 3)
    bundle = publish(tmp_path, fill=lambda staged: write_model(staged, Stage.RANK, graph))
    asked = candidates([100, 999, 201, 300, 402], [999])
    request = encode_rank_request(encode_contexts(users()), asked, weights=[{"click": 1.0}, {}], keep=[3, 3])
    async with serve(build(RankConfig(bundle_root=tmp_path), NoTelemetry())) as channel:
        answer = await RankingServiceStub(channel).Rank(request)
    ranked = decode_rank_response(answer, "rank", asked.offsets, [3, 3], bundle.version)
    assert ranked.tasks == TASKS
    assert ranked.offsets.tolist() == [0, 3, 3]
    assert 1 not in ranked.row_M
    assert ranked.score_M.tolist() == pytest.approx(np.sort(ranked.probability_MT[:, 0])[::-1])
