"""`explore events`: from what the gateway archived to a data set to train on; and `explore delete-user`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import grpc
import typer
import valkey.exceptions
from rich.console import Console

from cli.commands.feed import running_gateway
from cli.errors import CommandError
from cli.gateway_access import Address, Authority, Gateway, KeyFile
from cli.progress import steps
from cli.replacing import MERGE, refuse_loss
from cli.stack import RunningStack
from cli.valkey_access import open_valkey
from cli.workspace import Workspace
from protos.explore.v1.feedback_pb2 import DeleteUserRequest, DeleteUserResponse
from protos.explore.v1.feedback_pb2_grpc import FeedbackServiceStub

_DELETE_TIMEOUT_S = 120.0  # all files of the funnel log may have to be written anew
_Directories = list[Path]
_NONE: _Directories = []


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    events = typer.Typer(help="What users did, from the gateway's archive to a data set.", no_args_is_help=True)
    events.command()(export)
    events.command()(merge)
    app.add_typer(events, name="events")
    app.command(name="delete-user")(delete_user)


def export(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(help="Where the Parquet files go; name the same one every time.")],
    store: Annotated[str | None, typer.Option("--valkey", help="URL; the running stack's Valkey by default.")] = None,
) -> None:
    """Write the events that were archived since the last export, each once, in the format of `events.parquet`."""
    from cli.event_export import export_events

    url = store or _running_valkey(context.obj)
    try:
        with open_valkey(url) as client, steps() as progress, progress.step("reading the archive") as report:
            found = export_events(client, directory, report)
    except valkey.exceptions.ValkeyError as error:
        raise CommandError(f"the archive cannot be read: {error}", "see `explore status`") from error
    except OSError as error:
        raise _unusable(directory, error) from error
    typer.echo(f"{found.events:,} events in {found.file}" if found.file else "nothing new")
    if found.duplicates:
        typer.echo(f"{found.duplicates:,} entries were sent again, and count once")
    if found.missing:
        typer.echo(
            f"{found.missing:,} entries left the archive before they were exported: of deleted users, or beyond "
            "EXPLORE_EVENT_ARCHIVE_EVENTS",
            err=True,
        )


def merge(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(help="Directory of `explore events export`.")],
    name: Annotated[str, typer.Option(help="Name of the data set that is made, and used from then on.")],
    data: Annotated[Path | None, typer.Option(help="Data set to add to; the one in use if left out.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Give up the data set of that name, even if no merge made it.")
    ] = False,
) -> None:
    """Make a data set from one that is there and exported events: `explore train` then learns from both.

    Under the name of an earlier merge, the new one takes its place.
    """
    from cli.event_export import exported_events
    from training.datasets import load, write
    from training.datasets.lineage import Origin, mark
    from training.datasets.merge import with_events

    workspace: Workspace = context.obj
    target = workspace.dataset(name)
    if not replace:
        refuse_loss(target, MERGE)
    source = data or workspace.current_dataset()
    before = load(source)
    merged = with_events(before, exported_events(directory))
    here = source.resolve() == (workspace.datasets / source.name).resolve()  # else nobody knows what its name means
    made_from = (*before.made_from, Origin(source.name, mark(source))) if here else ()
    merged = dataclasses.replace(merged, created_by=MERGE, made_from=made_from)
    written = write(merged, target)
    workspace.use_dataset(name)
    for note in merged.warnings[len(before.warnings) :]:
        typer.echo(note, err=True)
    Console().print(
        f"data set {name!r} in {target}: {len(written.events) - len(before.events):,} events and "
        f"{len(written.users) - len(before.users):,} users more; now in use"
    )


def delete_user(
    context: typer.Context,
    user: Annotated[str, typer.Argument(help="Id of the user.")],
    exported: Annotated[
        _Directories, typer.Option("--export", help="Directory of `explore events export`; may be given several times.")
    ] = _NONE,
    address: Address = None,
    authority: Authority = None,
    key_file: KeyFile = None,
) -> None:
    """Remove what is stored of a user: state, archived events, rows of the funnel log, and of exports that are named.

    Data sets and bundles are not touched: remove the user from the data set, and train again.
    """
    from cli.event_export import forget_exported

    response = _delete(Gateway(address or running_gateway(context.obj), authority, key_file), user)
    for field in response.DESCRIPTOR.fields_by_name:
        typer.echo(f"{getattr(response, field):>10,}  {field.replace('_', ' ')}")
    for directory in exported:
        try:
            typer.echo(f"{forget_exported(directory, user):>10,}  events in {directory}")
        except OSError as error:
            raise _unusable(directory, error) from error


def _unusable(directory: Path, error: OSError) -> CommandError:
    return CommandError(
        f"the export in {directory} cannot be read or written: {error}", "name a directory that you may write to"
    )


def _delete(gateway: Gateway, user: str) -> DeleteUserResponse:
    with gateway.channel() as channel:
        try:
            request = DeleteUserRequest(user_id=user)
            response: DeleteUserResponse = FeedbackServiceStub(channel).DeleteUser(request, timeout=_DELETE_TIMEOUT_S)
        except grpc.RpcError as error:
            raise CommandError(f"{error.code().name}: {error.details()}") from error
    return response


def _running_valkey(workspace: Workspace) -> str:
    stack = RunningStack.find(workspace.run)
    if stack is None:
        raise CommandError("nothing is running", "start it with `explore up`, or name a Valkey with --valkey")
    return stack.ports.valkey_url
