"""Certificates from a directory: what is refused, and what is read when the files change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from serving import tls
from serving.tls import TlsDirectory, TlsRefused, read_tls
from tests.serving.certificates import Authority, flip


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def plain(directory: Path, authority: Authority, *names: str) -> Path:
    """Ordinary files, no links."""
    directory.mkdir(exist_ok=True)
    certificate, key = authority.issue(*names)
    for name, content in {"tls.crt": certificate, "tls.key": key, "ca.crt": authority.pem}.items():
        (directory / name).write_bytes(content)
    return directory


def test_the_files_are_what_is_in_the_directory(tmp_path: Path, authority: Authority) -> None:
    directory = plain(tmp_path / "tls", authority, "rank")
    files = read_tls(directory, mutual=True)
    assert files.certificate == (directory / "tls.crt").read_bytes()
    assert files.key == (directory / "tls.key").read_bytes()
    assert files.authorities == authority.pem
    assert "PRIVATE" not in repr(files)


@pytest.mark.parametrize("name", ["tls.crt", "tls.key", "ca.crt"])
def test_a_missing_file_is_named(tmp_path: Path, authority: Authority, name: str) -> None:
    directory = plain(tmp_path / "tls", authority, "rank")
    (directory / name).unlink()
    with pytest.raises(TlsRefused, match=rf"{name}: No such file or directory"):
        read_tls(directory, mutual=True)


def test_who_asks_nobody_for_a_certificate_needs_no_authorities(tmp_path: Path, authority: Authority) -> None:
    directory = plain(tmp_path / "tls", authority, "feed.example.com")
    (directory / "ca.crt").unlink()
    assert read_tls(directory, mutual=False).authorities is None


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("tls.crt", b"", "hold no PEM certificate"),
        ("tls.crt", b"\xff\xfe", "hold no PEM certificate"),
        ("tls.key", b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n", "hold no PEM certificate"),
        ("ca.crt", b"", "holds no PEM certificates"),
        ("ca.crt", b"\xff", "holds no PEM certificates"),
    ],
)
def test_a_file_that_is_none_is_refused_without_showing_it(
    tmp_path: Path, authority: Authority, name: str, content: bytes, problem: str
) -> None:
    directory = plain(tmp_path / "tls", authority, "rank")
    (directory / name).write_bytes(content)
    with pytest.raises(TlsRefused, match=problem) as refusal:
        read_tls(directory, mutual=True)
    assert "c2VjcmV0" not in str(refusal.value)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path, authority: Authority) -> None:
    directory = plain(tmp_path / "tls", authority, "rank")
    (directory / "tls.key").write_bytes(authority.issue("rank")[1])
    with pytest.raises(TlsRefused, match=r"tls\.crt and tls\.key do not belong together"):
        read_tls(directory, mutual=True)


def test_a_flip_of_the_secret_is_seen(tmp_path: Path, authority: Authority) -> None:
    directory = TlsDirectory(authority.write(tmp_path / "tls", "rank"))
    first = directory.current()
    assert directory.current() is first
    authority.write(tmp_path / "tls", "rank")
    second = directory.current()
    assert second.certificate != first.certificate
    assert directory.current() is second


def test_files_that_are_replaced_one_by_one_are_used_once_they_fit(tmp_path: Path, authority: Authority) -> None:
    path = plain(tmp_path / "tls", authority, "rank")
    directory = TlsDirectory(path)
    first = directory.current()
    certificate, key = authority.issue("rank")
    (path / "tls.crt").write_bytes(certificate)
    assert directory.current() is first
    assert "do not belong together" in directory.refused
    (path / "tls.key").write_bytes(key)
    assert (directory.current().key, directory.refused) == (key, "")


def test_a_secret_that_vanishes_leaves_the_one_before(tmp_path: Path, authority: Authority) -> None:
    path = plain(tmp_path / "tls", authority, "rank")
    directory = TlsDirectory(path)
    first = directory.current()
    os.rename(path, tmp_path / "gone")
    assert directory.current() is first
    assert "No such file" in directory.refused


def test_a_flip_while_it_is_read_gives_files_of_one_moment(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = authority.write(tmp_path / "tls", "rank")
    other = authority.issue("rank")
    read_bytes, flips = Path.read_bytes, iter([True])

    def flipping(file: Path) -> bytes:
        content = read_bytes(file)
        if file.name == "tls.crt" and next(flips, False):  # once, between certificate and key
            flip(path, {"tls.crt": other[0], "tls.key": other[1], "ca.crt": authority.pem})
        return content

    monkeypatch.setattr(Path, "read_bytes", flipping)
    files = read_tls(path, mutual=True)
    assert (files.certificate, files.key) == other


def test_files_that_never_rest_are_given_up(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = authority.write(tmp_path / "tls", "rank")
    stamps = iter(range(100))
    monkeypatch.setattr(tls, "stamp_of_all", lambda path: next(stamps))
    with pytest.raises(TlsRefused, match="changes faster than it can be read"):
        read_tls(path, mutual=True)
