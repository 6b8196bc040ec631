"""All candidates of a request before every stage, over real channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from features.dense import FINGERPRINT
from features.schema import Stage
from gateway.funnel_pass import FunnelPass
from gateway.stages import Call
from protos.explore.v1.ranking_pb2 import RankRequest, RankResponse
from serving.columns import CandidateColumns, Ranked
from serving.errors import BundleNotHeld, DeadlineExceeded, StageContractViolation, StageFailed
from serving.wire import encode_rank_response
from tests.gateway.feeds import candidates
from tests.gateway.funnels import FUNNEL, UNKNOWN, MediaScorer, call, stages
from tests.serving.doubles import answering, raising
from tests.serving.replicas import hang

NAN = float("nan")


def _sourced(of: Call) -> CandidateColumns:
    assert of.trace.sourced is not None
    return of.trace.sourced


async def test_every_stage_judges_every_candidate_in_the_order_of_retrieval() -> None:
    asked = call()
    async with stages() as clients:
        judged = await FunnelPass(FUNNEL, clients, 5, 10).judge(asked, _sourced(asked))
    assert list(judged) == list(Stage)
    np.testing.assert_array_equal(judged[Stage.PRERANK].score_N, np.array([0.5, 0.4, NAN, 0.2, 0.1], np.float32))
    for stage in (Stage.RANK, Stage.RERANK):
        np.testing.assert_allclose(judged[stage].score_N, [0.2, 0.202, 0.204, NAN, 0.208])
        np.testing.assert_allclose(judged[stage].probability_NT, [[0.1], [0.101], [0.102], [NAN], [0.104]])
    assert [judged[stage].tasks for stage in Stage] == [(), ("like",), ("like",)]
    assert judged[Stage.RANK].feature_NF is None
    expected = [[100, NAN], [101, NAN], [102, NAN], [NAN, NAN], [104, NAN]]
    np.testing.assert_array_equal(judged[Stage.RERANK].feature_NF, np.array(expected, np.float32))
    assert judged[Stage.RERANK].feature_schema == FINGERPRINT


async def test_no_call_is_larger_than_one_of_a_page() -> None:
    scorers = {stage: MediaScorer() for stage in Stage}
    asked = call()
    async with stages(**{stage.value: scorer for stage, scorer in scorers.items()}) as clients:
        await FunnelPass(FUNNEL, clients, 5, 10).judge(asked, _sourced(asked))
    assert {stage: scorer.batches for stage, scorer in scorers.items()} == {
        Stage.PRERANK: [5],
        Stage.RANK: [3, 2],
        Stage.RERANK: [2, 2, 1],
    }


async def test_candidates_that_no_model_knows_have_no_scores() -> None:
    unknown = candidates([1.0])
    unknown.media_id_N[:] = UNKNOWN
    async with stages() as clients:
        judged = await FunnelPass(FUNNEL, clients, 5, 10).judge(call(), unknown)
    assert np.isnan(judged[Stage.RERANK].score_N).tolist() == [True]
    assert judged[Stage.RERANK].probability_NT.shape == (1, 1)


async def test_a_lost_stage_ends_the_pass() -> None:
    asked = call()
    async with stages(rank=raising(ValueError("broken"))) as clients:
        with pytest.raises(StageFailed, match="rank"):
            await FunnelPass(FUNNEL, clients, 5, 10).judge(asked, _sourced(asked))


async def test_the_pass_has_a_deadline_of_its_own() -> None:
    asked = call()
    async with stages() as clients:
        with pytest.raises(DeadlineExceeded, match="prerank"):
            await FunnelPass(FUNNEL, clients, 0, 10).judge(asked, _sourced(asked))


async def test_a_call_of_the_pass_stands_in_the_way_of_pages_for_no_longer_than_one_of_theirs() -> None:
    asked = call()
    async with stages(prerank=answering(hang)) as clients:
        with pytest.raises(
            DeadlineExceeded, match=f"prerank did not answer within {FUNNEL.prerank.share * 100:.0f} ms"
        ):
            await FunnelPass(FUNNEL, clients, 60, 0.1).judge(asked, _sourced(asked))


async def test_another_bundle_than_that_of_the_page_is_not_asked() -> None:
    async with stages() as clients:
        other = Call(**{**vars(call()), "bundle_version": "v2"})
        with pytest.raises(BundleNotHeld, match="v2"):
            await FunnelPass(FUNNEL, clients, 5, 10).judge(other, _sourced(other))


async def test_answers_that_do_not_fit_together_are_refused() -> None:
    asked = call()

    async def answer(request: RankRequest, context: Any) -> RankResponse:
        count = int(request.candidates.offsets[-1])
        probability = np.zeros((count, 1), np.float32)
        rows = np.arange(count)
        task = f"task-{count}"
        return encode_rank_response(
            Ranked(np.array([0, count]), rows, np.zeros(count, np.float32), (task,), probability, "v1")
        )

    async with stages(rank=answering(answer)) as clients:
        with pytest.raises(StageContractViolation, match="rank broke its contract: tasks or features differ"):
            await FunnelPass(FUNNEL, clients, 5, 10).judge(asked, _sourced(asked))
