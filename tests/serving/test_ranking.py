"""The ranking service over a real channel: order, pins, overload, and that a batch changes nothing."""

from __future__ import annotations

import asyncio
import logging

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.actions import Action
from features.dense import FINGERPRINT
from protos.explore.v1.ranking_pb2 import RankRequest
from protos.explore.v1.user_context_pb2 import UserContext
from serving.admission import WAIT
from serving.channels import RankCalls
from serving.columns import Ranked
from serving.errors import BundleNotHeld, NotReady, Overloaded, StageContractViolation, StageFailed
from serving.holder import Holder
from serving.ranking import RANKING, RankingServicer
from serving.scorer import PassThroughScorer, Scorer
from serving.telemetry import Measure, MemoryTelemetry, NoTelemetry
from serving.testing import ranking_double, serve
from serving.wire import decode_rank_response, encode_rank_request
from tests.serving.batches import candidates, rank_request, user
from tests.serving.doubles import FixedScorer, GatedScorer, TasteScorer, Untimed

NAN = float("nan")
TIMEOUT_S = 5.0


def servicer(scorer: Scorer, max_waiting: int = 64) -> RankingServicer:
    holder = Holder[Scorer]()
    holder.put("v1", scorer)
    return RankingServicer("rank", holder, MemoryTelemetry(), max_waiting=max_waiting)


def taste_request(last_seen: list[int], media_of_users: list[list[int]], keep: list[int]) -> RankRequest:
    """Users who last liked the media `last_seen`, with these media as candidates."""
    columns = candidates([[0.0] * len(media) for media in media_of_users])
    columns.media_id_N[:] = [media_id for media in media_of_users for media_id in media]
    users = [user(f"user-{b}", [(media_id, Action.LIKE, 5)]) for b, media_id in enumerate(last_seen)]
    weights = [{"click": 1.0 + b, "negative": -0.5} for b in range(len(users))]
    return encode_rank_request(users, columns, weights=weights, keep=keep)


def single(request: RankRequest, b: int) -> RankRequest:
    """User b of a batch as a batch of one."""
    rows = slice(request.candidates.offsets[b], request.candidates.offsets[b + 1])
    media = np.frombuffer(request.candidates.media_id, "<i8")[rows].tolist()
    alone = taste_request([1], [media], [request.keep[b]])
    alone.users[0].CopyFrom(request.users[b])
    alone.weights[0].CopyFrom(request.weights[b])
    return alone


async def rank(servicer: RankingServicer, request: RankRequest) -> Ranked:
    response = await servicer.Rank(request, Untimed())
    return decode_rank_response(response, "rank", np.array(request.candidates.offsets), request.keep)


async def test_candidates_come_best_first_with_scores_and_probabilities() -> None:
    request = taste_request([10, 500], [[13, 10, 2000], [501, 400]], [3, 1])
    async with serve(ranking_double(TasteScorer(), "v7")) as channel:
        response = await RankCalls(channel, "rank").rank(request, TIMEOUT_S)
    ranked = decode_rank_response(response, "rank", np.array([0, 3, 5]), [3, 1])
    assert ranked.offsets.tolist() == [0, 2, 3]
    assert ranked.row_M.tolist() == [1, 0, 3]
    np.testing.assert_allclose(ranked.score_M, [1.0, 0.25 - 0.375, 1.0 - 0.25])
    np.testing.assert_allclose(ranked.probability_MT, [[1.0, 0.0], [0.25, 0.75], [0.5, 0.5]])
    assert (ranked.tasks, ranked.bundle_version) == (("click", "negative"), "v7")
    assert (ranked.features_us, ranked.model_us) == (3, 4)
    assert ranked.total_us > 0


media = st.lists(st.integers(1, 1100), max_size=6)
taste_users = st.lists(st.tuples(st.integers(1, 1100), media, st.integers(1, 7)), min_size=1, max_size=5)


@given(taste_users)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_batch_gives_each_user_what_it_gets_alone(users: list[tuple[int, list[int], int]]) -> None:
    request = taste_request([u[0] for u in users], [u[1] for u in users], [u[2] for u in users])

    async def compare() -> None:
        service = servicer(TasteScorer())
        together = await rank(service, request)
        for b in range(len(users)):
            alone = await rank(service, single(request, b))
            rows = slice(together.offsets[b], together.offsets[b + 1])
            assert (together.row_M[rows] - request.candidates.offsets[b]).tolist() == alone.row_M.tolist()
            assert together.score_M[rows].tobytes() == alone.score_M.tobytes()
            assert together.probability_MT[rows].tobytes() == alone.probability_MT.tobytes()
        await service.close()

    asyncio.run(compare())


async def test_baseline_orders_by_the_incoming_score_and_drops_the_unscored() -> None:
    ranked = await rank(servicer(PassThroughScorer()), rank_request([[0.1, NAN, 0.9, -0.5]]))
    assert ranked.row_M.tolist() == [2, 0, 3]
    assert ranked.tasks == ()


async def test_baseline_ignores_weights_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    await rank(servicer(PassThroughScorer()), rank_request([[0.1]]))
    assert caplog.records == []


async def test_weights_of_unknown_tasks_count_nothing_and_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    service = servicer(TasteScorer())
    request = taste_request([10], [[10]], [1])
    request.weights[0].by_task["purchase"] = 1e5
    for _ in range(2):
        assert (await rank(service, request)).score_M.tolist() == [1.0]
    assert [vars(record)["task"] for record in caplog.records if record.levelno == logging.WARNING] == ["purchase"]


async def test_what_callers_call_their_tasks_fills_neither_memory_nor_log(caplog: pytest.LogCaptureFixture) -> None:
    service, request = servicer(TasteScorer()), taste_request([10], [[10]], [1])
    for number in range(300):
        request.weights[0].by_task[f"{number}" + "x" * 1_000] = 1.0
    await rank(service, request)
    told = [vars(record)["task"] for record in caplog.records if record.levelno == logging.WARNING]
    assert (len(told), max(len(task) for task in told)) == (100, 64)
    assert max(len(task) for _, task in service._unknown_tasks) == 64


async def test_task_without_a_weight_counts_nothing() -> None:
    request = taste_request([10], [[10]], [1])
    request.weights[0].by_task.clear()
    assert (await rank(servicer(TasteScorer()), request)).score_M.tolist() == [0.0]


async def test_pinned_version_is_used_while_it_is_held() -> None:
    holder = Holder[Scorer]()
    for version, score in (("v1", 1.0), ("v2", 2.0)):
        holder.put(version, FixedScorer(np.array([score], np.float32)))
    service = RankingServicer("rank", holder, MemoryTelemetry())
    request = rank_request([[0.0]])
    for pin, expected in (("", 2.0), ("v1", 1.0), ("v2", 2.0)):
        request.bundle_version = pin
        assert (await rank(service, request)).score_M.tolist() == [expected]


async def test_version_that_is_not_held_is_refused() -> None:
    request = rank_request([[0.0]])
    request.bundle_version = "v9"
    async with serve(ranking_double(PassThroughScorer())) as channel:
        with pytest.raises(BundleNotHeld, match="v9"):
            await RankCalls(channel, "rank").rank(request, TIMEOUT_S)


async def test_service_without_a_scorer_is_not_ready() -> None:
    service = RankingServicer("rank", Holder[Scorer](), MemoryTelemetry())
    with pytest.raises(NotReady):
        await service.Rank(rank_request([[0.0]]), Untimed())


async def test_wrong_input_is_named_over_the_wire() -> None:
    request = rank_request([[1.0], [1.0]])
    request.users[1].user_id = ""
    async with serve(ranking_double(PassThroughScorer())) as channel:
        with pytest.raises(StageFailed, match=r"INVALID_ARGUMENT: users\[1\]\.user_id has 0 characters"):
            await RankCalls(channel, "rank").rank(request, TIMEOUT_S)


async def test_calls_beyond_the_waiting_room_are_shed() -> None:
    scorer = GatedScorer()
    service = servicer(scorer, max_waiting=2)
    first, second = (asyncio.create_task(rank(service, rank_request([[1.0]]))) for _ in range(2))
    await asyncio.to_thread(scorer.entered.wait)
    with pytest.raises(Overloaded, match="rank has 2 calls waiting"):
        await rank(service, rank_request([[1.0]]))
    scorer.gate.set()
    assert [(await task).row_M.tolist() for task in (first, second)] == [[0], [0]]
    assert (await rank(service, rank_request([[1.0]]))).row_M.tolist() == [0]


class Watched(NoTelemetry):
    """Tells when so many calls were let in, and when one was cancelled."""

    def __init__(self, calls: int) -> None:
        self._missing = calls
        self.let_in, self.cancelled = asyncio.Event(), asyncio.Event()

    def observe(self, measure: Measure, value: float, *labels: str) -> None:
        self._missing -= measure is WAIT and labels == (RANKING, "ok")
        if self._missing == 0:
            self.let_in.set()

    def observe_call(self, method: str, status: str, seconds: float) -> None:
        if status == "CANCELLED":
            self.cancelled.set()


@pytest.mark.parametrize("ends", ["cancelled", "deadline"])
async def test_work_of_a_call_that_ended_while_it_queued_is_never_done(ends: str) -> None:
    scorer, telemetry = GatedScorer(), Watched(calls=2)
    async with serve(ranking_double(scorer), telemetry) as channel:
        client = RankCalls(channel, "rank")
        first = asyncio.create_task(client.rank(rank_request([[1.0]]), 30.0))
        await asyncio.to_thread(scorer.entered.wait)
        second = asyncio.create_task(client.rank(rank_request([[1.0]]), 30.0 if ends == "cancelled" else 1.0))
        await telemetry.let_in.wait()
        if ends == "cancelled":
            second.cancel()
        await asyncio.wait([second])
        await telemetry.cancelled.wait()
        scorer.gate.set()
        await first
        await client.rank(rank_request([[1.0]]), 30.0)
    assert scorer.scored == 2  # the first and the third


async def test_event_loop_goes_on_while_the_model_runs() -> None:
    scorer = GatedScorer()
    call = asyncio.create_task(rank(servicer(scorer), rank_request([[1.0]])))
    await asyncio.to_thread(scorer.entered.wait)
    assert not call.done()
    scorer.gate.set()
    assert (await call).row_M.tolist() == [0]


@pytest.mark.parametrize("asked", [False, True])
async def test_features_come_in_the_order_of_the_scores_and_only_if_asked_for(asked: bool) -> None:
    dense_NF = np.array([[1.0, NAN], [2.0, 0.5], [NAN, NAN]], np.float32)
    scorer = FixedScorer(np.array([0.1, 0.9, NAN], np.float32), dense_NF=dense_NF)
    request = rank_request([[0.0] * 3])
    request.with_features = asked
    async with serve(ranking_double(scorer)) as channel:
        response = await RankCalls(channel, "rank").rank(request, TIMEOUT_S)
    ranked = decode_rank_response(response, "rank", np.array([0, 3]), [100], with_features=asked)
    assert ranked.feature_schema == (FINGERPRINT if asked else "")
    if asked:
        np.testing.assert_array_equal(ranked.features_MF, dense_NF[[1, 0]])
    else:
        assert ranked.features_MF is None


async def test_a_scorer_with_features_for_other_rows_breaks_its_contract() -> None:
    scorer = FixedScorer(np.array([0.1, 0.9], np.float32), dense_NF=np.zeros((1, 2), np.float32))
    with pytest.raises(StageContractViolation, match=r"features has shape \(1, 2\), expected 2 rows"):
        await rank(servicer(scorer), rank_request([[0.0, 0.0]]))


async def test_users_without_candidates_get_an_empty_answer() -> None:
    request = encode_rank_request(
        [UserContext(user_id="a", request_time_ms=1)], candidates([[]]), weights=[{}], keep=[5]
    )
    assert (await rank(servicer(TasteScorer()), request)).offsets.tolist() == [0, 0]
