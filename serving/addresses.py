"""Where the replicas of a stage are: HOST:PORT, unix:/PATH, a list of them, or dns:///HOST:PORT for every address behind a name.

A stage in shards has one such text per shard, separated by semicolons.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Annotated

from pydantic import AfterValidator

from features.shards import MAX_SHARDS
from serving.config import check_address, check_endpoint

DNS = "dns:///"

Resolver = Callable[[str, int], Awaitable[list[str]]]  # host and port to HOST:PORT of every address


def split(addresses: str) -> tuple[list[str], list[tuple[str, int]]]:
    """The fixed HOST:PORT and unix:/PATH, each once, and the names to look up. Raises ValueError that says what is allowed."""
    fixed, names = list[str](), list[tuple[str, int]]()
    for part in (part.strip() for part in addresses.split(",")):
        try:
            address = check_address(part.removeprefix(DNS)) if part.startswith(DNS) else check_endpoint(part)
        except ValueError as error:
            raise ValueError(
                f"{part!r} must be HOST:PORT or {DNS}HOST:PORT or unix:/PATH; several are separated by commas"
            ) from error
        if part.startswith(DNS):
            host, _, port = address.rpartition(":")
            names.append((host.strip("[]"), int(port)))
        else:
            fixed.append(address)
    return list(dict.fromkeys(fixed)), list(dict.fromkeys(names))


def split_shards(addresses: str) -> list[str]:
    """The addresses of every shard, in order. Raises ValueError that names the shard and says what is allowed."""
    shards = [part.strip() for part in addresses.split(";")]
    owner: dict[object, int] = {}
    for number, shard in enumerate(shards):
        if not shard and len(shards) > 1:
            raise ValueError(f"shard {number} of {len(shards)} has no address; shards are separated by semicolons")
        try:
            fixed, names = split(shard)
        except ValueError as error:
            raise ValueError(f"shard {number} of {len(shards)}: {error}" if len(shards) > 1 else str(error)) from error
        for address in (*fixed, *names):
            if owner.setdefault(address, number) != number:
                shown = address if isinstance(address, str) else f"{DNS}{address[0]}:{address[1]}"
                raise ValueError(f"{shown} is an address of shard {owner[address]} and of shard {number}")
    if len(shards) > MAX_SHARDS:
        raise ValueError(f"lists {len(shards)} shards, at most {MAX_SHARDS} are allowed")
    return shards


def _check(addresses: str) -> str:
    split(addresses)
    return addresses


def _check_shards(addresses: str) -> str:
    split_shards(addresses)
    return addresses


StageAddress = Annotated[str, AfterValidator(_check)]
ShardedAddress = Annotated[str, AfterValidator(_check_shards)]


async def resolve(host: str, port: int) -> list[str]:
    """HOST:PORT of every A and AAAA record, in a fixed order. Raises OSError if the name cannot be looked up."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # what Python says of a label that is too long for any name
        raise OSError(str(error)) from error
    return sorted({f"[{at[0]}]:{port}" if family == socket.AF_INET6 else f"{at[0]}:{port}" for family, *_, at in found})
