"""Which requests are spoiled: valid ones of every RPC of the five services, taken from a stack that runs."""

from __future__ import annotations

import base64
import json
import struct
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from benchmarks.fuzz_mutations import large, spoiled
from cli.stack import SERVICES, Ports
from features.actions import Action
from features.context import UserContexts, concatenate
from features.user_state import EMPTY, HISTORY_RECORD, UserState
from gateway import paging
from protos.explore.v1 import feed_pb2, feedback_pb2, ranking_pb2, retrieval_pb2, status_pb2
from protos.explore.v1.retrieval_pb2_grpc import RetrievalServiceStub
from serving.wire import SeenMedia, decode_retrieve_response, encode_contexts, encode_rank_request

FUZZED = tuple(f"fuzz-{number}" for number in range(50))  # users who do what nobody does
CANDIDATES = 20  # of an unspoiled RankRequest: what is wrong with it does not depend on how many there are
_CALL_S = 10.0
LARGE = 4
_BUSY = 8.0  # weight
_STREAMED = 3  # messages of a streamed request, at most

Make = Callable[[Random], Message]


@dataclass(frozen=True)
class Rpc:
    """One method of one process. `weight`: how often it is called, relative to the others."""

    service: str  # of cli.stack.SERVICES
    path: str
    make: Make  # a valid request
    weight: float = 1.0
    streams_in: bool = False
    streams_out: bool = False


@dataclass(frozen=True)
class Request:
    """What is sent: the bytes of one message, or of several where the method takes a stream."""

    number: int
    service: str
    path: str
    messages: tuple[bytes, ...]
    streams_in: bool
    streams_out: bool

    def save(self, path: Path, seed: int, found: str) -> None:
        """Writes the request, so that it can be sent again."""
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = {
            **{name: getattr(self, name) for name in ("number", "service", "path", "streams_in", "streams_out")},
            "messages": [base64.b64encode(message).decode() for message in self.messages],
            "seed": seed,
            "found": found,
        }
        path.write_text(json.dumps(facts, indent=2) + "\n", "utf-8")

    @classmethod
    def load(cls, path: Path) -> Request:
        """The request that `save` wrote."""
        facts = json.loads(path.read_text("utf-8"))
        messages = tuple(base64.b64decode(message) for message in facts["messages"])
        return cls(
            facts["number"], facts["service"], facts["path"], messages, facts["streams_in"], facts["streams_out"]
        )


def request(rpcs: Sequence[Rpc], seed: int, number: int) -> Request:
    """The spoiled request with this number: the same for the same seed, whatever else is sent, but for the times of events.

    The first LARGE of every busy RPC are as large as a message may be, so that buffers have grown when memory is first looked at.
    """
    rng = Random(f"{seed}:{number}")
    busy = [rpc for rpc in rpcs if rpc.weight >= _BUSY]
    if number < LARGE * len(busy):
        rpc = busy[number % len(busy)]
        return Request(number, rpc.service, rpc.path, (large(rng, rpc.make(rng)),), rpc.streams_in, rpc.streams_out)
    (rpc,) = rng.choices(rpcs, [each.weight for each in rpcs])
    count = rng.randint(0, _STREAMED) if rpc.streams_in else 1
    messages = tuple(spoiled(rng, rpc.make(rng)) for _ in range(count))
    return Request(number, rpc.service, rpc.path, messages, rpc.streams_in, rpc.streams_out)


def all_rpcs(ports: Ports, users: Sequence[str], now_ms: int) -> list[Rpc]:
    """Every RPC of the five processes. Asks the running stack for candidates, so that valid requests name media it knows."""
    known = _Known(ports, users, now_ms)
    rpcs = [*_stage_rpcs(known), *_public_rpcs(known)]
    for service in SERVICES:
        rpcs += [
            _rpc(service, status_pb2, "StatusService", "GetStatus", lambda rng: status_pb2.GetStatusRequest(), 0.3),
            *_grpc_rpcs(service),
        ]
    return rpcs


def _grpc_rpcs(service: str) -> list[Rpc]:
    check = "/grpc.health.v1.Health/"
    reflect = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    return [
        Rpc(service, f"{check}Check", _health, 0.2),
        Rpc(service, f"{check}Watch", _health, 0.1, streams_out=True),
        Rpc(service, reflect, _reflect, 0.2, streams_in=True, streams_out=True),
    ]


def _health(rng: Random) -> Message:
    return health_pb2.HealthCheckRequest(service=rng.choice(("", "explore.v1.RankingService", "nobody")))


def _reflect(rng: Random) -> Message:
    return rng.choice(
        (
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="explore.v1.RankingService"),
            reflection_pb2.ServerReflectionRequest(file_by_filename="explore/v1/feed.proto"),
        )
    )


def _rpc(service: str, module: Any, name: str, method: str, make: Make, weight: float) -> Rpc:
    descriptor = module.DESCRIPTOR.services_by_name[name]
    found = descriptor.methods_by_name[method]
    path = f"/{descriptor.full_name}/{method}"
    return Rpc(service, path, make, weight, found.client_streaming, found.server_streaming)


def _stage_rpcs(known: _Known) -> list[Rpc]:
    rank = [_rpc(f"{stage}_svc", ranking_pb2, "RankingService", "Rank", known.rank, 12.0) for stage in _RANKERS]
    return [_rpc("retrieval_svc", retrieval_pb2, "RetrievalService", "Retrieve", known.retrieve, 12.0), *rank]


_RANKERS = ("prerank", "rank", "rerank")


def _public_rpcs(known: _Known) -> list[Rpc]:
    """The gateway's own: those that we know how to make, and whatever else its files declare, from empty messages."""
    makers: Mapping[str, tuple[Make, float]] = {
        "GetFeed": (known.get_feed, 12.0),
        "LogEvents": (known.log_events, 12.0),
        "SetRelations": (known.set_relations, 8.0),
    }
    rpcs = []
    for module in (feed_pb2, feedback_pb2):
        for name, service in module.DESCRIPTOR.services_by_name.items():
            for method in service.methods:
                make, weight = makers.get(method.name, (_empty(method.input_type), 8.0))
                if method.input_type == feedback_pb2.LogEventsRequest.DESCRIPTOR:
                    make = known.log_events
                rpcs.append(_rpc("gateway", module, name, method.name, make, weight))
    return rpcs


def _empty(descriptor: Any) -> Make:
    def make(rng: Random) -> Message:
        message: Message = descriptor._concrete_class()
        for field in descriptor.fields:
            if field.name == "user_id":
                setattr(message, field.name, rng.choice(FUZZED))
        return message

    return make


class _Known:
    """Valid requests about users and media that the stack knows."""

    def __init__(self, ports: Ports, users: Sequence[str], now_ms: int) -> None:
        self._users, self._now_ms = list(users), now_ms
        nobody = EMPTY.context(self._users[0], now_ms, "explore")
        asked = retrieval_pb2.RetrieveRequest(users=encode_contexts(nobody, _seen([])), counts=[500])
        with grpc.insecure_channel(ports.address("retrieval_svc")) as channel:
            answer = RetrievalServiceStub(channel).Retrieve(asked, timeout=_CALL_S)
        self._candidates = decode_retrieve_response(answer, "retrieval", [500])

    def get_feed(self, rng: Random) -> Message:
        user = rng.choice(self._users)
        size = rng.choice((None, None, 1, 25, 50))
        message = feed_pb2.GetFeedRequest(user_id=user, page_size=size, debug=rng.random() < 0.05)
        if rng.random() < 0.5:
            message.page_token = self._token(rng, user)
        return message

    def _token(self, rng: Random, user: str) -> str:
        """A token whose checks are right, of a feed that may be as no feed can be."""
        shown = self._some_media(rng, rng.choice((0, 25, 1_000, 1_999)))
        position = rng.choice((0, 25, 2**31 - 1, 2**32 - 1))
        if rng.random() < 0.2 and len(shown):
            shown[0] = rng.choice((0, -1, 2**63 - 1, -(2**63)))
        body = struct.pack("<II", zlib.crc32(user.encode()), position) + shown.astype("<i8").tobytes()
        forged = base64.urlsafe_b64encode(struct.pack("<BI", 1, zlib.crc32(body)) + body).decode()
        issued = paging.encode(user, paging.Cursor(25, shown))
        return rng.choice((forged, issued))

    def _some_media(self, rng: Random, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        return np.array(rng.choices(self._candidates.media_id_N.tolist(), k=count), dtype=np.int64)

    def log_events(self, rng: Random) -> Message:
        return feedback_pb2.LogEventsRequest(events=[self._event(rng) for _ in range(rng.choice((1, 2, 5)))])

    def _event(self, rng: Random) -> feedback_pb2.Event:
        action = rng.choice(list(Action))
        row = rng.randrange(len(self._candidates))
        return feedback_pb2.Event(
            event_id=f"fuzz-{rng.randrange(20_000)}",  # some come twice
            user_id=rng.choice(FUZZED),
            media_id=int(self._candidates.media_id_N[row]),
            author_id=int(self._candidates.author_id_N[row]),
            action=feedback_pb2.Action.Name(int(action)),
            event_time_ms=time.time_ns() // 1_000_000 - rng.randrange(1_000_000),
            value=1000.0 if action is Action.DWELL else None,
            request_id=f"{rng.randrange(1000):032x}",
            position=rng.randrange(50),
            surface="explore",
        )

    def set_relations(self, rng: Random) -> Message:
        change = feedback_pb2.RelationChange(
            user_id=rng.choice(FUZZED),
            account_id=int(rng.choice(self._candidates.author_id_N.tolist())),
            kind=rng.choice(("RELATION_KIND_FOLLOWED", "RELATION_KIND_MUTED", "RELATION_KIND_BLOCKED")),
            removed=rng.random() < 0.5,
        )
        return feedback_pb2.SetRelationsRequest(changes=[change] * rng.choice((1, 1, 3)))

    def retrieve(self, rng: Random) -> Message:
        contexts = self._contexts(rng)
        seen = _seen([self._some_media(rng, rng.choice((0, 10))) for _ in range(len(contexts))])
        counts = [rng.choice((1, 20, 50)) for _ in range(len(contexts))]
        return retrieval_pb2.RetrieveRequest(request_id="fuzz", users=encode_contexts(contexts, seen), counts=counts)

    def rank(self, rng: Random) -> Message:
        contexts = self._contexts(rng)
        users, chosen = len(contexts), []
        for _ in range(users):
            chosen.append(np.array(rng.sample(range(len(self._candidates)), min(CANDIDATES, len(self._candidates)))))
        rows = np.concatenate(chosen)
        offsets = np.concatenate([[0], np.cumsum([len(each) for each in chosen])]).astype(np.int64)
        return encode_rank_request(
            encode_contexts(contexts),
            self._candidates.take(rows, offsets, self._candidates.score_N[rows]),
            weights=[{"like": 4.0, "negative": -20.0}] * users,
            keep=[rng.choice((1, CANDIDATES, 500))] * users,
            request_id="fuzz",
            with_features=rng.random() < 0.1,
        )

    def _contexts(self, rng: Random) -> UserContexts:
        return concatenate([self._context(rng) for _ in range(rng.choice((1, 1, 2)))])

    def _context(self, rng: Random) -> UserContexts:
        count = rng.choice((0, 3, 50))
        history_H = np.zeros(count, dtype=HISTORY_RECORD)
        history_H["media_id"] = self._some_media(rng, count)
        history_H["action"] = int(Action.LIKE)
        history_H["time_ms"] = self._now_ms - 1_000 * np.arange(count, 0, -1)
        state = UserState(EMPTY.profile, history_H, EMPTY.counts_A, EMPTY.seen_S)
        return state.context(rng.choice(self._users), self._now_ms, "explore")


def _seen(per_user: Sequence[np.ndarray[Any, np.dtype[np.int64]]]) -> SeenMedia:
    lists = list(per_user) or [np.empty(0, dtype=np.int64)]
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in lists])]).astype(np.int64)
    return SeenMedia(offsets, np.concatenate(lists))
