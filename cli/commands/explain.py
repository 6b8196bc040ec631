"""`explore explain`: why a user's page is as it is, or why one media item is or is not on it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from google.protobuf.json_format import MessageToDict
from rich.console import Group, RenderableType
from rich.text import Text

from cli.commands.feed import PageSize, ask, running_gateway
from cli.console import wide_console
from cli.explain_tables import candidates_table, funnel_tables, item_story, page_story
from cli.feed_table import as_json
from cli.gateway_access import Address, Authority, Gateway, KeyFile
from cli.workspace import Workspace
from protos.explore.v1.feed_pb2 import CandidateDebug, GetFeedRequest, GetFeedResponse

if TYPE_CHECKING:
    from cli.unsourced import Unsourced


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(explain)


def explain(
    context: typer.Context,
    user: Annotated[str, typer.Option(help="Whose page.")],
    media: Annotated[
        int | None,
        typer.Option(help="One media item in full: why it is on the page, or why not.", min=1, max=2**63 - 1),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every candidate, not only the page.")] = False,
    page_size: PageSize = None,
    surface: Annotated[str, typer.Option(help="Where the page would be shown.")] = "",
    json_: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    address: Address = None,
    authority: Authority = None,
    key_file: KeyFile = None,
) -> None:
    """Show how the page that a user would get now comes about. The page is only looked at: it does not count as shown."""
    request = GetFeedRequest(user_id=user, page_size=page_size, surface=surface, debug=True, preview=True)
    response = ask(Gateway(address or running_gateway(context.obj), authority, key_file), request)
    if media is None:
        _print_page(response, user, all_, json_)
        return
    candidate = next((each for each in response.debug.candidates if each.media_id == media), None)
    if candidate is not None:
        _print_item(response, candidate, json_)
        return
    # Another installation's gateway may have another bundle, and does not show us its user state.
    unsourced = _unsourced(context.obj, response, user, media) if address is None else None
    _print_unsourced(response, media, unsourced, json_)


def _print_page(response: GetFeedResponse, user: str, all_: bool, json_: bool) -> None:
    if json_:
        typer.echo(json.dumps(as_json(response)))
        return
    parts: list[RenderableType] = [page_story(response, user), funnel_tables(response.debug)]
    if all_:
        parts.append(candidates_table(response.debug))
    wide_console().print(Group(*parts))


def _print_item(response: GetFeedResponse, candidate: CandidateDebug, json_: bool) -> None:
    if json_:
        facts = MessageToDict(candidate, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        typer.echo(json.dumps({"sourced": True, "arm": response.arm, **facts}))
        return
    wide_console().print(item_story(response.debug, candidate))


def _print_unsourced(response: GetFeedResponse, media: int, why: Unsourced | None, json_: bool) -> None:
    if json_:
        known = None if why is None else asdict(why)
        sources = as_json(response)["debug"]["sources"]  # type: ignore[index]
        typer.echo(json.dumps({"sourced": False, "media_id": str(media), "retrieval": known, "sources": sources}))
        return
    candidates = len(response.debug.candidates)
    head = Text(f"Media {media}: not on the page: not among the {candidates} candidates that were sourced", "bold")
    reason = "what its catalogue holds is known on the machine of the stack only" if why is None else str(why)
    wide_console().print(Group(head, Text(reason), funnel_tables(response.debug)))


def _unsourced(workspace: Workspace, response: GetFeedResponse, user: str, media: int) -> Unsourced:
    from cli.commands.stack import clock_for
    from cli.unsourced import why_unsourced

    clock = clock_for(workspace.bundles().manifest(response.bundle_version))
    return why_unsourced(workspace, response.bundle_version, clock, user, media, response.arms)
