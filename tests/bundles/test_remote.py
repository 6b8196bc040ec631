"""Stores behind URLs: a real S3 server, and one clear line for everything that can be wrong with a URL."""

from __future__ import annotations

import errno
import sys
import uuid
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from bundles.collect import RemoteShelf, Rules, collect
from bundles.errors import (
    BundleMissing,
    DiskFull,
    DownloadCorrupt,
    RemoteDenied,
    RemoteError,
    RemoteUnreachable,
    RemoteUnsupported,
)
from bundles.fetch import Fetcher
from bundles.patience import Patience
from bundles.push import Pusher
from bundles.remote import RemoteStore, explain
from bundles.store import BundleStore
from tests.bundles.conftest import Publish
from tests.bundles.remotes import AT_ONCE, Fuse, check_local, check_remote, fused

BIG = 9 << 20  # several range requests
IMPATIENT = Patience(1)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a place in a new bucket; where it is and who we are comes from the environment, as in a pod."""
    settings = {
        "ENDPOINT_URL": endpoint,
        "ACCESS_KEY_ID": "key",
        "SECRET_ACCESS_KEY": "secret",
        "DEFAULT_REGION": "us-east-1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    bucket = f"bundles-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return f"s3://{bucket}/stack/bundles"


def test_bundles_travel_through_s3(s3: str, store: BundleStore, publish: Publish, node: BundleStore) -> None:
    remote = RemoteStore(s3)
    with pytest.raises(BundleMissing, match="push one"):
        remote.wanted()
    first, second = (publish({"items.npy": b"i" * BIG, "empty": b"", "rank/model": name}) for name in (b"one", b"two"))
    for version in (first, second):
        Pusher(store, remote, AT_ONCE).push(version.version)
    assert check_remote(remote) == [second.version, first.version]
    fetched = Fetcher(RemoteStore(s3), node, AT_ONCE).step()
    assert check_local(node) == [second.version, first.version]
    assert (fetched.versions[first.version].linked, fetched.versions[first.version].downloaded) == (BIG, 3)
    assert Pusher(store, RemoteStore(s3), AT_ONCE).push(second.version).uploaded == 0


def test_what_is_wrong_in_s3_is_found_mended_and_collected(
    s3: str, store: BundleStore, publish: Publish, node: BundleStore
) -> None:
    remote = RemoteStore(s3)
    first, second = publish({"a": b"one"}).version, publish({"a": b"two"}).version
    for version in (first, second, first, second):
        Pusher(store, remote, AT_ONCE).push(version)
    remote._fs.pipe_file(remote._path(second, "a"), b"tw0")
    with pytest.raises(DownloadCorrupt, match=rf"{second}: a: was downloaded"):
        Fetcher(remote, node, AT_ONCE).step()
    Pusher(store, remote, AT_ONCE).push(second)
    Fetcher(remote, node, AT_ONCE).step()
    assert check_local(node) == [second, first]
    third = publish({"a": b"three"}).version
    Pusher(store, remote, AT_ONCE).push(third)
    shelf = RemoteShelf(RemoteStore(s3))
    assert list(collect(shelf, Rules(1, 60), now_ms=0).waiting) == [first]
    assert collect(shelf, Rules(1, 60), now_ms=60_000).removed == (first,)
    assert check_remote(remote) == [third, second]
    assert remote.sizes(first) == {}


def test_a_bucket_that_does_not_exist_is_named_and_not_made(s3: str, store: BundleStore, publish: Publish) -> None:
    version = publish({"a": b"1"}).version
    nowhere = RemoteStore(f"s3://{uuid.uuid4().hex}/bundles")
    with pytest.raises(BundleMissing, match="or correct the URL"):
        nowhere.wanted()
    with pytest.raises(RemoteUnreachable, match="there is nothing to write to: The specified bucket does not exist"):
        Pusher(store, nowhere, IMPATIENT).push(version)
    assert nowhere.url.split("/")[2] not in [each["Name"] for each in boto3.client("s3").list_buckets()["Buckets"]]


def test_an_s3_server_that_is_away_is_named(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(RemoteUnreachable, match=r"^s3://.*Could not connect to the endpoint URL"):
        RemoteStore(s3).wanted()


def test_missing_credentials_are_named(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.delenv(f"AWS_{name}")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(RemoteDenied, match=r"no credentials: .*set them in the environment"):
        RemoteStore(s3).wanted()


def test_a_protocol_that_is_not_installed_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, url, extra in (("s3fs", "s3://b/x", "s3"), ("gcsfs", "gs://b/x", "gs")):
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.delitem(import_module("fsspec.registry")._registry, extra, raising=False)
        with pytest.raises(RemoteUnsupported, match=rf"^{url}: .*pip install 'explore-stack\[{extra}\]'"):
            RemoteStore(url)


@pytest.mark.parametrize("url", ["gopher://x/y", "/srv/bundles", "", "bundles"])
def test_what_is_no_url_that_we_know_is_refused(url: str) -> None:
    with pytest.raises(RemoteUnsupported, match=r"file"):
        RemoteStore(url)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (PermissionError("Access Denied"), RemoteDenied, "no permission: Access Denied"),
        (OSError(errno.ENOSPC, "No space left on device"), DiskFull, "no room"),
        (TimeoutError(), RemoteUnreachable, "TimeoutError: no details"),
        (RuntimeError("several\n  lines"), RemoteUnreachable, "several lines"),
        (TypeError("no such option"), RemoteError, "cannot be used: TypeError: no such option"),
    ],
)
def test_every_error_of_a_file_system_becomes_one_line_with_the_url(
    remote: RemoteStore, error: Exception, kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text) as raised:
        fused(remote, Fuse(0, lambda: error)).wanted()
    assert type(raised.value) is kind
    assert str(raised.value).startswith(f"{remote.url}: ")
    assert "\n" not in str(raised.value)
    assert type(explain(remote.url, error)) is kind


def test_a_disk_that_may_not_be_written_is_named(tmp_path: Path, store: BundleStore, publish: Publish) -> None:
    version = publish({"a": b"1"}).version
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RemoteError, match=rf"^file://{tmp_path}/file/x: "):
        Pusher(store, RemoteStore(f"file://{tmp_path}/file/x"), IMPATIENT).push(version)


def test_a_password_in_a_url_is_not_shown() -> None:
    remote = RemoteStore("memory://user:secret@host/x")
    with pytest.raises(BundleMissing) as raised:
        remote.wanted()
    assert str(raised.value).startswith("memory://***@host/x: ")
