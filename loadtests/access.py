"""How a gateway is reached that does not talk to everybody: over TLS, with a certificate of our own, with an API key.

Everything comes in files. What they hold is in no message, no report and on no web page.
"""

from __future__ import annotations

import codecs
import ssl
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from loadtests.retries import CLIENT_OPTIONS

KEY_HEADER = "x-api-key"
_MAX_RESPONSE = 16 * 1024 * 1024


class AccessError(Exception):
    """A file that cannot be used, or one that lacks another; the text says which."""


@dataclass(frozen=True)
class Access:
    """PEM and the key. Without `authorities`, calls go in plain text to whoever answers."""

    authorities: bytes | None = None
    certificate: bytes | None = None
    certificate_key: bytes | None = field(default=None, repr=False)
    key: str | None = field(default=None, repr=False)
    server_name: str = ""  # that the gateway's certificate must have; empty: the host's

    def channel(self, host: str) -> grpc.Channel:
        """A channel to HOST:PORT."""
        options = [*CLIENT_OPTIONS, ("grpc.max_receive_message_length", _MAX_RESPONSE)]
        if self.authorities is None:
            return grpc.insecure_channel(host, options)
        if self.server_name:
            options.append(("grpc.ssl_target_name_override", self.server_name))
        credentials = grpc.ssl_channel_credentials(self.authorities, self.certificate_key, self.certificate)
        return grpc.secure_channel(host, credentials, options)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Of every call; none over a connection that others can read."""
        return () if self.key is None or self.authorities is None else ((KEY_HEADER, self.key),)


PLAIN = Access()


def read_access(
    authorities: str = "", certificate: str = "", certificate_key: str = "", key: str = "", server_name: str = ""
) -> Access:
    """What these files hold; "" for none. Raises AccessError."""
    if not authorities and (certificate or certificate_key or key or server_name):
        raise AccessError("--ca is missing: keys, certificates and names go over TLS alone")
    if bool(certificate) != bool(certificate_key):
        raise AccessError("--certificate and --certificate-key belong together, one of them is missing")
    if authorities:
        _check_authorities(authorities)
    if certificate:
        _check_pair(certificate, certificate_key)
    return Access(
        _bytes(authorities) if authorities else None,
        _bytes(certificate) if certificate else None,
        _bytes(certificate_key) if certificate_key else None,
        _read_key(key) if key else None,
        server_name,
    )


def _check_authorities(path: str) -> None:
    """gRPC would say nothing of a broken file, and connect to nobody."""
    pem = _bytes(path)
    try:
        ssl.create_default_context(cadata=pem.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise AccessError(f"--ca {path}: holds no certificate in PEM") from error


def _check_pair(certificate: str, key: str) -> None:
    _bytes(certificate), _bytes(key)
    try:
        ssl.create_default_context().load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise AccessError(f"--certificate {certificate}, --certificate-key {key}: are no pair in PEM") from error


def _read_key(path: str) -> str:
    # Some editors begin a text with a mark that nobody sees.
    key = _bytes(path).removeprefix(codecs.BOM_UTF8).decode("latin-1").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise AccessError(f"--key-file {path}: must hold one line of printable ASCII, the key")
    return key


def _bytes(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise AccessError(f"{path}: {error.strerror}") from error
