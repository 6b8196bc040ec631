"""Certificates from a directory: credentials for ports and channels, read again whenever the files change.

The directory has the layout of a Kubernetes Secret of type kubernetes.io/tls as cert-manager fills it: tls.crt, tls.key, ca.crt.
Knows no service and no peer; `peers.py` decides who may call.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from serving.watched import Stamp, WatchedFile, stamp_of

CERTIFICATE, KEY, AUTHORITIES = "tls.crt", "tls.key", "ca.crt"

_ATTEMPTS = 5  # at reading three files that belong together, while somebody replaces them


class TlsRefused(ValueError):
    """The files cannot be used; names the file and what is wrong with it, never what it holds."""


@dataclass(frozen=True)
class TlsFiles:
    """What one set of files holds, PEM. Certificate and key belong together."""

    certificate: bytes
    key: bytes = field(repr=False)
    authorities: bytes | None  # whose certificates are believed; None: this port asks nobody for one

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """For calls that show the certificate, to servers whose certificate one of the authorities signed."""
        return grpc.ssl_channel_credentials(self.authorities, self.key, self.certificate)

    def port_configuration(self) -> grpc.ServerCertificateConfiguration:
        """For a port that shows the certificate."""
        return grpc.ssl_server_certificate_configuration([(self.key, self.certificate)], self.authorities)


class TlsDirectory:
    """The files as they are now, or as they last were when they were good. Safe to use from several threads."""

    def __init__(self, path: Path, mutual: bool = True) -> None:
        """`mutual`: peers must show certificates, so ca.crt must be there. Raises TlsRefused."""
        self.mutual = mutual
        self._files = WatchedFile(path, lambda path: read_tls(path, mutual), stamp_of_all)

    def current(self) -> TlsFiles:
        """What new connections use; the same object as long as nothing changes. Costs three `stat`s."""
        return self._files.value()

    @property
    def refused(self) -> str:
        """Why files that came later are not used; empty if they are."""
        return self._files.refused

    def server_credentials(self) -> grpc.ServerCredentials:
        """For a port. gRPC asks before every handshake, so a new certificate is shown from the next connection on."""
        shown = self.current()

        def changed() -> Any:  # None for no change, which the type stubs do not say
            nonlocal shown
            if (files := self.current()) is shown:
                return None
            shown = files
            return files.port_configuration()

        return grpc.dynamic_ssl_server_credentials(shown.port_configuration(), changed, self.mutual)


def read_tls(path: Path, mutual: bool) -> TlsFiles:
    """The files of a directory, all of one moment: a Secret that is replaced meanwhile is read again. Raises TlsRefused."""
    for _ in range(_ATTEMPTS):
        before = stamp_of_all(path)
        try:
            files = _read(path, mutual)
        except TlsRefused:
            if stamp_of_all(path) == before:
                raise
        else:
            if stamp_of_all(path) == before:
                return files
    raise TlsRefused(f"{path} changes faster than it can be read")


def stamp_of_all(path: Path) -> tuple[Stamp | None, ...]:
    """What changes when any of the files does, or the link through which Kubernetes replaces them all at once."""
    return tuple(stamp_of(path / name) for name in (CERTIFICATE, KEY, AUTHORITIES))


def _read(path: Path, mutual: bool) -> TlsFiles:
    certificate, key = _bytes(path / CERTIFICATE), _bytes(path / KEY)
    authorities = _bytes(path / AUTHORITIES) if mutual else None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Without a password callback, OpenSSL would ask for one at the terminal.
        context.load_cert_chain(path / CERTIFICATE, path / KEY, password=lambda: b"")
    except OSError as error:  # ssl.SSLError is one
        problem = (
            "do not belong together" if "MISMATCH" in str(error) else "hold no PEM certificate and unencrypted key"
        )
        raise TlsRefused(f"{path / CERTIFICATE} and {KEY} {problem}") from error
    if authorities is not None:
        try:
            context.load_verify_locations(cadata=authorities.decode("ascii"))
        except (OSError, ValueError) as error:
            raise TlsRefused(f"{path / AUTHORITIES} holds no PEM certificates") from error
    return TlsFiles(certificate, key, authorities)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsRefused(f"{path}: {os.strerror(error.errno or 0)}; it must be a readable PEM file") from error
