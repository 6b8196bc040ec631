"""Why a media item is not even a candidate: asked of the same engine, on the same bundle and user, that sourcing uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bundles.bundle import Bundle
from cli.served_sourcing import open_engine, query_of
from cli.user_lookup import look_up
from cli.workspace import Workspace
from features.item_table import UNKNOWN_ROW
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.igql.files import compile_file
from retrieval_svc.limits import MAX_COUNT

_DEEP = MAX_COUNT  # candidates asked for to see whether any source finds it at all


@dataclass(frozen=True)
class Unsourced:
    """What retrieval knows about a media item that it did not return. `place` counts from 0 among `_DEEP` candidates."""

    in_catalogue: bool
    refused_by: tuple[str, ...] = ()  # the rules that keep it from this user
    source: str = ""  # that finds it when so many more are asked for; "" for none
    place: int = -1

    def __str__(self) -> str:
        """What a person should be told."""
        if not self.in_catalogue:
            return "it is not in the catalogue of the bundle: new since its training, or no such id"
        if self.refused_by:
            return f"it is refused to this user by: {', '.join(self.refused_by)}"
        if self.source:
            return f"source {self.source!r} finds it, at place {self.place + 1} of {_DEEP:,} if so many were asked for"
        return "it could be recommended, but no source of the query file finds it for this user"


def why_unsourced(
    workspace: Workspace, bundle_version: str, clock: str, user_id: str, media_id: int, arms: Mapping[str, str]
) -> Unsourced:
    """Asks the catalogue, then the rules, then the query of the user's `arms`, layer to arm, with many more candidates.

    Raises BundleError if the workspace does not hold the bundle, CommandError if the user or the arms cannot be looked up or the
    list of takedowns is broken, and IgqlError for a query file that is wrong.
    """
    store = workspace.bundles()
    manifest = store.manifest(bundle_version)
    catalogue = Catalogue.open(Bundle(bundle_version, store.root / bundle_version, manifest))
    row = int(catalogue.items.rows(np.array([media_id], dtype=np.int64))[0])
    if row == UNKNOWN_ROW:
        return Unsourced(False)
    query = query_of(workspace, arms)
    engine = open_engine(workspace, catalogue, query)
    asked = look_up(workspace, manifest, clock, user_id)
    many = np.array([_DEEP], dtype=np.int64)
    run = engine.execution(compile_file(query, catalogue.vocabulary), asked.contexts, [asked.seen_S], many).run
    user_P, row_P = np.zeros(1, dtype=np.int64), np.array([row], dtype=np.int64)
    refused = tuple(rule.reason for rule in run.rules if rule.rejects(run.audience, user_P, row_P)[0])
    if refused:
        return Unsourced(True, refused)
    found = engine.retrieve(asked.contexts, [asked.seen_S], many).candidates
    places = np.flatnonzero(found.media_id_N == media_id).tolist()
    return Unsourced(True, source=found.source(places[0]), place=places[0]) if places else Unsourced(True)
