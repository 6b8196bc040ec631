"""Every error has a status."""

from __future__ import annotations

import grpc
import pytest

from serving.errors import STATUS_OF, BundleNotHeld, CallError, InvalidArgument, NotReady, StageFailed, status_of


def test_every_call_error_stands_in_the_table() -> None:
    assert set(CallError.__subclasses__()) == set(STATUS_OF)


class NothingToServe(NotReady):
    """A special case that a service might add."""


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidArgument("users", "is empty"), grpc.StatusCode.INVALID_ARGUMENT),
        (BundleNotHeld("v1", ["v2"]), grpc.StatusCode.FAILED_PRECONDITION),
        (NothingToServe(), grpc.StatusCode.UNAVAILABLE),
        (CallError(), grpc.StatusCode.INTERNAL),
    ],
)
def test_status_of_an_error_is_that_of_its_nearest_ancestor(error: CallError, status: grpc.StatusCode) -> None:
    assert status_of(error) is status


def test_messages_name_what_is_wrong() -> None:
    assert str(InvalidArgument("users[3].user_id", "has 0 characters")) == "users[3].user_id has 0 characters"
    assert str(BundleNotHeld("v1", ["v3", "v2"])) == "bundle_version 'v1' is not held; held: v3, v2"
    assert str(StageFailed("rank", grpc.StatusCode.UNIMPLEMENTED, "x")) == "rank failed with UNIMPLEMENTED: x"
