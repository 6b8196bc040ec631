"""The file of client keys: what is read, what is refused, and that no message repeats a key."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clients_file import Client, ClientsRefused, Scope, find, parse, read_clients
from tests.gateway.keys import APP, SHOP, entry, write_keys

TEXT = f"""
keys:
  app:
    sha256: {hashlib.sha256(APP.encode()).hexdigest()}
    per_second: 50
    burst: 100
    scopes: [feed, feedback]
  shop.web:
    sha256: {hashlib.sha256(SHOP.encode()).hexdigest().upper()}
    per_second: 0.5
    burst: 1
    scopes: [feed]
"""
CLIENTS = parse(TEXT)


def test_every_client_is_read() -> None:
    app, shop = parse(TEXT)
    digest = hashlib.sha256(APP.encode()).digest()
    assert app == Client("app", digest, 50.0, 100, frozenset({Scope.FEED, Scope.FEEDBACK}))
    assert (shop.name, shop.per_second, shop.burst, shop.scopes) == ("shop.web", 0.5, 1, frozenset({Scope.FEED}))
    assert digest.hex() not in repr(app)


def test_a_key_finds_its_client() -> None:
    assert find(CLIENTS, APP) is CLIENTS[0]
    assert find(CLIENTS, SHOP) is CLIENTS[1]


@given(st.text())
def test_no_other_text_is_a_key(text: str) -> None:
    assert text in (APP, SHOP) or find(CLIENTS, text) is None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"sha256": APP}, r"keys\.app\.sha256 must be the SHA-256 of the key, 64 hexadecimal digits"),
        ({"sha256": "g" * 64}, r"keys\.app\.sha256 must be"),
        ({"sha256": [APP]}, r"keys\.app\.sha256 must be"),
        ({"per_second": 0}, r"keys\.app\.per_second must be a number from 0\.001 to 1e\+06, got '0'"),
        ({"per_second": -1}, r"per_second must be a number"),
        ({"per_second": "often"}, r"per_second must be a number"),
        ({"per_second": float("nan")}, r"per_second must be a number"),
        ({"per_second": 1e9}, r"per_second must be a number"),
        ({"burst": 0}, r"keys\.app\.burst must be a number from 1 to 1e\+06"),
        ({"burst": 1.5}, r"keys\.app\.burst must be a whole number"),
        ({"scopes": []}, r"keys\.app\.scopes is empty; allowed: debug, delete, feed, feedback, status"),
        ({"scopes": "feed"}, r"keys\.app\.scopes must be a list"),
        ({"scopes": ["feeds"]}, r"keys\.app\.scopes has an unknown scope; did you mean 'feed'\?"),
        ({"scopes": [["feed"]]}, r"keys\.app\.scopes has an unknown scope"),
        ({"rate": 5}, r"keys\.app\.rate is not known; allowed: burst, per_second, scopes, sha256"),
    ],
)
def test_a_wrong_entry_is_named_and_no_key_is_shown(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    file = write_keys(tmp_path / "keys.json", app=entry(APP, **changes))
    with pytest.raises(ClientsRefused, match=rf"^keys\.json:1:\d+: .*{problem}") as refusal:
        read_clients(file)
    assert APP not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "names no keys"),
        ("# nothing", "names no keys"),
        ("keys:", "keys must be a mapping"),
        ("keys: {}", "keys names nobody, so nobody could call"),
        ("clients: {}", "clients is not known; allowed: keys"),
        ("- app", "must be a mapping of keys"),
        ("keys: {app: {sha256: x}}", "keys.app has no per_second, burst, scopes"),
        ("keys: {app: 5}", "keys.app must be a mapping"),
        ("keys: {'a b': {}}", "must be 1 to 64 letters"),
        ("keys: {app: {}, app: {}}", "keys.app is given twice"),
        (f"keys: {{app: {APP}", "is no YAML"),
        ("[" * 50, "nested more than"),
        ("#" * 300_000, "has 300000 characters"),
    ],
)
def test_a_text_that_names_no_clients_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ClientsRefused) as refusal:
        parse(text)
    assert problem in str(refusal.value)
    assert APP not in str(refusal.value)


def test_one_key_for_two_clients_is_refused(tmp_path: Path) -> None:
    file = write_keys(tmp_path / "keys.json", app=entry(APP), web=entry(APP))
    with pytest.raises(ClientsRefused, match=r"keys\.web has the same key as 'app'"):
        read_clients(file)


def test_a_file_that_cannot_be_read_is_refused_without_showing_it(tmp_path: Path) -> None:
    with pytest.raises(ClientsRefused, match=r"keys\.yaml cannot be read: No such file or directory"):
        read_clients(tmp_path / "keys.yaml")
    (tmp_path / "keys.yaml").write_bytes(APP.encode() + b"\xff")
    with pytest.raises(ClientsRefused, match=r"keys\.yaml is no text in UTF-8$") as refusal:
        read_clients(tmp_path / "keys.yaml")
    assert refusal.value.__cause__ is None
