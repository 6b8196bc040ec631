"""The retrieval service as a process: `python -m retrieval_svc`."""

from __future__ import annotations

import sys

import faiss
import grpc.aio

from bundles import layout
from bundles.bundle import Bundle
from bundles.store import BundleStore
from features.dense import FINGERPRINT
from protos.explore.v1 import retrieval_pb2_grpc
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.config import RetrievalConfig
from retrieval_svc.engine import RetrievalEngine
from retrieval_svc.igql.errors import IgqlError
from retrieval_svc.part import part_of
from retrieval_svc.servicer import RetrievalServicer
from serving.bundle_follower import BundleFollower, Source
from serving.errors import SettingRefused
from serving.holder import Holder
from serving.process import main
from serving.server import Service
from serving.takedowns import TakedownsRefused
from serving.telemetry import Telemetry

RETRIEVAL = "explore.v1.RetrievalService"


def build(config: RetrievalConfig, telemetry: Telemetry) -> Service:
    """The composition root."""
    faiss.omp_set_num_threads(1)  # a service scales by processes; FAISS would take every core of the host
    engines = Holder[RetrievalEngine](config.bundle_pin_s)
    servicer = RetrievalServicer(engines, config.max_count, telemetry, shard=config.shard)

    def make(bundle: Bundle) -> RetrievalEngine:
        try:
            return RetrievalEngine(part_of(Catalogue.open(bundle), config.shard), config)
        except (IgqlError, TakedownsRefused) as error:
            raise SettingRefused(bundle.version, str(error)) from error

    settings = [config.igql_file, *([config.takedown_file] if config.takedown_file else [])]
    source = Source(BundleStore(config.bundle_root), FINGERPRINT, tuple(settings), layout.PARTS["retrieval"])
    follower = BundleFollower(source, make, engines, config.bundle_poll_s)

    def note() -> str:
        refused = engines.held().value.refused if engines.versions() else ""
        shard = str(config.shard) if config.shard_count > 1 else ""
        files = f"a changed file is refused, what was before goes on: {refused}" if refused else ""
        return "; ".join(part for part in (shard, files, follower.note()) if part)

    def register(server: grpc.aio.Server) -> None:
        retrieval_pb2_grpc.add_RetrievalServiceServicer_to_server(servicer, server)

    return Service(
        (RETRIEVAL,),
        register,
        follower.load,
        servicer.close,
        engines.versions,
        note,
        follower.follow,
        engines.pin,
        refused=follower.refused,
    )


if __name__ == "__main__":
    sys.exit(main(RetrievalConfig, build))
