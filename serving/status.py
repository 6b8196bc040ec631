"""StatusService: what this process is and what it serves from, for people and their tools."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache
from importlib import metadata
from typing import Any

from protos.explore.v1 import status_pb2, status_pb2_grpc

STATUS: str = status_pb2.DESCRIPTOR.services_by_name["StatusService"].full_name

LOADING = "loading"  # `not_ready_reason` until the first attempt has ended


class Status(status_pb2_grpc.StatusServiceServicer):
    """Kept up to date by the server; `not_ready_reason` is empty once the service is ready."""

    def __init__(
        self,
        service: str,
        versions: Callable[[], list[str]],
        note: Callable[[], str],
        pin: Callable[[Sequence[str]], None],
    ) -> None:
        self.not_ready_reason = LOADING
        self._service = service
        self._versions = versions
        self._note = note
        self._pin = pin
        self._started_at_ms = time.time_ns() // 1_000_000

    async def GetStatus(self, request: status_pb2.GetStatusRequest, context: Any) -> status_pb2.GetStatusResponse:
        """The RPC. Answers while the service is still loading, too."""
        self._pin(request.pinned_versions)
        versions = self._versions()
        return status_pb2.GetStatusResponse(
            service=self._service,
            software_version=software_version(),
            bundle_version=next(iter(versions), ""),
            started_at_ms=self._started_at_ms,
            not_ready_reason=self.not_ready_reason,
            note=self._note(),
            bundle_versions=versions,
        )


@cache  # it reads a file, and everybody who looks at the stack asks
def software_version() -> str:
    """Of the installed package."""
    try:
        return metadata.version("explore-stack")
    except metadata.PackageNotFoundError:
        return "source"  # run from a checkout that was not installed
