"""`explore feed`: asks the running gateway for a page, like any other client."""

from __future__ import annotations

import json
from typing import Annotated

import grpc
import typer

from cli.console import wide_console
from cli.errors import CommandError
from cli.explain_tables import candidates_table, funnel_tables
from cli.feed_table import as_json, page_table
from cli.gateway_access import Address, Authority, Gateway, KeyFile
from cli.stack import Ports, RunningStack
from cli.workspace import Workspace
from protos.explore.v1.feed_pb2 import GetFeedRequest, GetFeedResponse
from protos.explore.v1.feed_pb2_grpc import ExploreServiceStub

PageSize = Annotated[
    int | None, typer.Option(help="Items; the server's default if left out.", min=1, max=2**31 - 1)
]  # an int32 of the request; the server says how many it allows
_TIMEOUT_S = 10.0  # for a person at a terminal; applications set their own


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(feed)


def feed(
    context: typer.Context,
    user: Annotated[str, typer.Option(help="Whose page.")],
    page_size: PageSize = None,
    pages: Annotated[int, typer.Option(help="How many pages, one after the other.", min=1)] = 1,
    surface: Annotated[str, typer.Option(help="Where the page would be shown.")] = "",
    json_: Annotated[bool, typer.Option("--json", help="One JSON object per page.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Rank and score of every candidate at every stage.")] = False,
    address: Address = None,
    authority: Authority = None,
    key_file: KeyFile = None,
) -> None:
    """Show a page of recommendations, and what lies behind it."""
    gateway = Gateway(address or running_gateway(context.obj), authority, key_file)
    request = GetFeedRequest(user_id=user, page_size=page_size, surface=surface, debug=debug)
    for _ in range(pages):
        response = ask(gateway, request)
        _print(response, user, json_)
        if not response.next_page_token:
            break
        request.page_token = response.next_page_token


def show_page(address: str, user: str) -> None:
    """Prints the first page of a user."""
    _print(ask(Gateway(address), GetFeedRequest(user_id=user)), user, as_json_=False)


def ask(gateway: Gateway, request: GetFeedRequest) -> GetFeedResponse:
    """One call. Raises CommandError with the server's words."""
    with gateway.channel() as channel:
        try:
            response: GetFeedResponse = ExploreServiceStub(channel).GetFeed(request, timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            raise CommandError(f"{error.code().name}: {error.details()}") from error
    return response


def running_gateway(workspace: Workspace) -> str:
    """Address of the gateway of the stack that runs in this workspace. Raises CommandError if none does."""
    stack = RunningStack.find(workspace.run)
    if stack is None:
        raise CommandError("nothing is running", "start it with `explore up`, or name a gateway with --address")
    ports: Ports = stack.ports
    return ports.address("gateway")


def _print(response: GetFeedResponse, user: str, as_json_: bool) -> None:
    if as_json_:
        typer.echo(json.dumps(as_json(response)))
        return
    console = wide_console()
    console.print(page_table(response, user))
    if response.HasField("debug"):
        console.print(funnel_tables(response.debug), candidates_table(response.debug))
