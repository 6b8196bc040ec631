"""The file of client keys: YAML text in, clients out, or everything that is wrong with it. It holds hashes of keys, never keys.

Nothing that stands in the place of a hash is ever repeated in a message: somebody may have put the key itself there.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import yaml

from gateway.experiments.yaml_text import Reading, TextRefused, suggestion, under

MAX_RATE, MAX_BURST = 1e6, 1_000_000

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_HASH = re.compile(r"[0-9a-fA-F]{64}")
_KEYS = ("sha256", "per_second", "burst", "scopes")


class Scope(StrEnum):
    """What a key may be used for."""

    FEED = "feed"  # pages
    DEBUG = "debug"  # with `feed`: pages with `debug` or `preview`, which cost more and tell more
    FEEDBACK = "feedback"  # events and relations
    DELETE = "delete"  # removing users
    STATUS = "status"  # what the process serves from, and reflection


class ClientsRefused(ValueError):
    """The file does not serve; `str()` names every problem of it, one a line."""


@dataclass(frozen=True)
class Client:
    """Somebody with a key. `per_second` calls go on for ever, `burst` of them may come at once."""

    name: str
    sha256: bytes = field(repr=False)
    per_second: float
    burst: int
    scopes: frozenset[Scope]


def find(clients: Iterable[Client], key: str) -> Client | None:
    """Whose key it is. Takes as long whether it is somebody's or not, and whatever it has in common with one."""
    digest, found = hashlib.sha256(key.encode()).digest(), None
    for client in clients:
        if hmac.compare_digest(client.sha256, digest):
            found = client
    return found


def check_clients(path: Path) -> Path:
    """The path, if its file serves. Raises ClientsRefused."""
    read_clients(path)
    return path


def read_clients(path: Path) -> tuple[Client, ...]:
    """The clients of a file. Raises ClientsRefused."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:  # its words would repeat what is there
        raise ClientsRefused(f"{path} is no text in UTF-8") from None
    except OSError as error:
        raise ClientsRefused(f"{path} cannot be read: {error.strerror}") from error
    return parse(text, path.name)


def parse(text: str, name: str = "keys.yaml") -> tuple[Client, ...]:
    """The clients of a text. Raises ClientsRefused."""
    reading = Reading(name)
    try:
        root = reading.root(text)
        if root is None:
            raise ClientsRefused(f"{name} names no keys, so nobody could call")
        clients = _clients(reading, root)
        reading.finish()
    except TextRefused as error:
        raise ClientsRefused(str(error)) from None
    return clients


def _clients(reading: Reading, root: yaml.Node) -> tuple[Client, ...]:
    top = reading.mapping(root, "", allowed=("keys",))
    entries = reading.mapping(top["keys"][1], "keys", name=_NAME) if "keys" in top else {}
    if not entries:
        reading.refuse(root, "keys", "names nobody, so nobody could call")
    clients = [client for name, (key, node) in entries.items() if (client := _client(reading, name, key, node))]
    owners: dict[bytes, str] = {}
    for client in clients:
        if (other := owners.setdefault(client.sha256, client.name)) != client.name:
            reading.refuse(entries[client.name][0], under("keys", client.name), f"has the same key as {other!r}")
    return tuple(clients)


def _client(reading: Reading, name: str, key_node: yaml.Node, node: yaml.Node) -> Client | None:
    path = under("keys", name)
    found = reading.mapping(node, path, allowed=_KEYS)
    missing = [key for key in _KEYS if key not in found]
    if missing:
        if isinstance(node, yaml.MappingNode):
            reading.refuse(key_node, path, f"has no {', '.join(missing)}")
        return None
    digest = _digest(reading, found["sha256"][1], under(path, "sha256"))
    per_second = reading.number(found["per_second"][1], under(path, "per_second"), 1e-3, MAX_RATE)
    burst = reading.whole_number(found["burst"][1], under(path, "burst"), 1, MAX_BURST)
    scopes = _scopes(reading, found["scopes"][1], under(path, "scopes"))
    if digest is None or per_second is None or burst is None:
        return None
    return Client(name, digest, per_second, burst, scopes)


def _digest(reading: Reading, node: yaml.Node, path: str) -> bytes | None:
    if isinstance(node, yaml.ScalarNode) and _HASH.fullmatch(node.value):
        return bytes.fromhex(node.value)
    reading.refuse(node, path, "must be the SHA-256 of the key, 64 hexadecimal digits: printf %s KEY | sha256sum")
    return None


def _scopes(reading: Reading, node: yaml.Node, path: str) -> frozenset[Scope]:
    known = [scope.value for scope in Scope]
    found = set[Scope]()
    for each in reading.items(node, path):
        word = each.value if isinstance(each, yaml.ScalarNode) else None
        if word in known:
            found.add(Scope(word))
        else:
            reading.refuse(each, path, f"has an unknown scope; {suggestion(word or '', known)}")
    if isinstance(node, yaml.SequenceNode) and not node.value:
        reading.refuse(node, path, f"is empty; allowed: {', '.join(sorted(known))}")
    return frozenset(found)
