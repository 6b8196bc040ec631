"""The URL of Valkey, which may hold a password: from a file, or from the environment without one. Never repeats what it reads."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import valkey.asyncio
from pydantic import SecretStr

_SCHEMES = ("redis", "rediss", "valkey", "valkeys", "unix")
_TLS_SCHEMES = ("rediss", "valkeys")
_ALLOWED = "must be redis://HOST:PORT/DB, rediss:// for TLS, or unix:///SOCKET"


def open_client(url: str) -> valkey.asyncio.Valkey:
    """A client. Over TLS it asks that the certificate is for the host, which the library's default does not."""
    checks = {"ssl_check_hostname": True} if urlsplit(url).scheme in _TLS_SCHEMES else {}
    client: valkey.asyncio.Valkey = valkey.asyncio.from_url(url, **checks)
    return client


def check_open_url(url: SecretStr) -> SecretStr:
    """The URL, if everybody may read it. Raises ValueError."""
    if _holds_password(url.get_secret_value()):
        raise ValueError(
            "holds a password, which the environment is no place for: put the URL into a file that "
            "EXPLORE_VALKEY_URL_FILE names"
        )
    return url


def check_url_file(path: Path) -> Path:
    """The path, if its file holds a URL. Raises ValueError."""
    _holds_password(read_url(path), f"{path} holds no URL of Valkey: it ")
    return path


def read_url(path: Path) -> str:
    """The URL in a file. Raises ValueError."""
    try:
        return path.read_text(encoding="utf-8-sig").strip()  # some editors begin UTF-8 with a mark that nobody sees
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text in UTF-8") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error


def _holds_password(url: str, whose: str = "") -> bool:
    """Raises ValueError, without its cause, for what is no URL of Valkey."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in _SCHEMES and bool(parts.path if parts.scheme == "unix" else parts.hostname)
        _ = parts.port  # raises for what is no number
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"{whose}{_ALLOWED}")
    return parts.password is not None or "password" in parse_qs(parts.query)
