from __future__ import annotations

from pathlib import Path

import numpy as np

from features.schema import Stage
from prerank_svc.__main__ import build
from prerank_svc.config import PrerankConfig
from protos.explore.v1.ranking_pb2_grpc import RankingServiceStub
from serving.config import load
from serving.telemetry import NoTelemetry
from serving.testing import serve
from serving.wire import decode_rank_response, encode_contexts, encode_rank_request
from tests.rank_svc.published import candidates, dense_graph, publish, write_model
from tests.retrieval_svc.worlds import likes, user


def test_the_port_is_the_stages_own() -> None:
    assert load(PrerankConfig).listen == "127.0.0.1:50052"


async def test_the_students_order_is_kept_whatever_the_arm_values(tmp_path: Path) -> None:
    graph = dense_graph(Stage.PRERANK, "score_N", 1)
    bundle = publish(tmp_path, fill=lambda staged: write_model(staged, Stage.PRERANK, graph))
    asked, ann = candidates([100, 999, 201, 300, 402]), encode_contexts(user(history=likes(100)))
    async with serve(build(PrerankConfig(bundle_root=tmp_path), NoTelemetry())) as channel:
        answers = [
            await RankingServiceStub(channel).Rank(encode_rank_request(ann, asked, weights=[weights], keep=[9]))
            for weights in ({"click": 1.0}, {"click": -1.0})
        ]
    ranked, same = (decode_rank_response(a, "prerank", asked.offsets, [9], bundle.version) for a in answers)
    assert sorted(ranked.row_M) == [0, 2, 3, 4]
    assert np.all(np.diff(ranked.score_M) <= 0)
    assert ranked.row_M.tolist() == same.row_M.tolist()
    assert ranked.tasks == ()
