"""Makes and writes every file that sourcing reads from a bundle. Knows the files; each module beside it makes one content.

Nothing is written before everything is made and both indexes have passed their gate.

Shapes: M media, U accounts, W windows.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import polars as pl
from numpy.typing import NDArray

from bundles import layout
from features.item_table import ItemTable
from training.event_log import EventLog
from training.progress import Steps
from training.sourcing import account_graph
from training.sourcing.co_occurrence import co_occurring
from training.sourcing.config import SourcingConfig
from training.sourcing.lists import Lists
from training.sourcing.neighbours import nearest
from training.sourcing.trending import trends
from training.sourcing.vector_index import IndexQuality, VectorIndex, build_index, embedding_info


@dataclass(frozen=True)
class Coverage:
    """How much of the catalogue the lists reach: things with a list that is not empty."""

    accounts_with_neighbours: int
    media_with_co_occurring: int
    co_occurring_pairs: int  # as stored: a pair may be in the lists of both
    accounts_owned: int  # by users who follow accounts with media or acted on media
    segments: int


@dataclass(frozen=True)
class SourcingQuality:
    """What was published for sourcing, and how good it is."""

    account_index: IndexQuality
    media_index: IndexQuality
    coverage: Coverage

    def metrics(self) -> dict[str, dict[str, Any]]:
        """As the metrics of a bundle hold it."""
        accounts, media = self.account_index, self.media_index
        return {
            "account_index": {"kind": accounts.kind, "accounts": accounts.vectors, "recall": accounts.recall},
            "media_index": {"kind": media.kind, "media": media.vectors, "recall": media.recall},
            "sourcing": asdict(self.coverage),
        }


def write_sourcing(
    items: ItemTable,
    log: EventLog,
    users: pl.DataFrame,
    root: Path,
    steps: Steps,
    *,
    vectors_until_ms: int,
    config: SourcingConfig | None = None,
) -> SourcingQuality:
    """Writes the sourcing files of `bundles.layout` under `root`, from the events before `items.as_of_ms`.

    `vectors_until_ms` is when the events end that the vectors of `items` were trained on. Raises ExportError when an index finds
    too few of the exact neighbours; then nothing is written.
    """
    config = config or SourcingConfig()
    as_of_ms, account_UE, media_MD = items.as_of_ms, items.account_vector_UE, items.media_vector_MD
    with steps.step("account index, recall check") as report:
        accounts = build_index("the account index", account_UE, config.account_index, report)
    with steps.step("media index, recall check") as report:
        media = build_index("the media index", media_MD, config.media_index, report)
    with steps.step("account neighbours") as report:
        neighbours = nearest(account_UE, accounts, config.neighbours, config.all_pairs_up_to, report)
    with steps.step("co-occurring media") as report:
        together = co_occurring(log, as_of_ms, config.co_occurrence, report)
    with steps.step("trending media") as report:
        lately = trends(log, items, users, config, report)
    with steps.step("account graph"):
        owner_V = account_graph.owned_accounts(log, users)
        follow = account_graph.followed(log, owner_V, as_of_ms, config.graph)
        engaged = account_graph.engaged(log, owner_V, as_of_ms, config.graph)
        posted = account_graph.posted(items)
    with steps.step("writing the sourcing files"):
        files = _Files(root)
        files.json(layout.ACCOUNT_EMBEDDING, embedding_info(account_UE, vectors_until_ms))
        files.index(layout.ACCOUNT_INDEX, layout.ACCOUNT_INDEX_ROWS, accounts)
        files.array(layout.ACCOUNT_NEIGHBOURS, neighbours.row_XK)
        files.array(layout.ACCOUNT_NEIGHBOUR_COSINES, neighbours.cosine_XK)
        files.lists(layout.ACCOUNT_MEDIA_OFFSETS, layout.ACCOUNT_MEDIA_ROWS, posted)
        files.lists(layout.ACCOUNT_FOLLOW_OFFSETS, layout.ACCOUNT_FOLLOW_ROWS, follow)
        files.lists(layout.ACCOUNT_ENGAGED_OFFSETS, layout.ACCOUNT_ENGAGED_ROWS, engaged)
        files.json(layout.MEDIA_EMBEDDING, embedding_info(media_MD, vectors_until_ms))
        files.index(layout.MEDIA_INDEX, layout.MEDIA_INDEX_ROWS, media)
        files.lists(layout.CO_OCCURRING_OFFSETS, layout.CO_OCCURRING_ROWS, together.liked)
        files.array(layout.CO_OCCURRING_SCORES, together.score)
        files.json(layout.TRENDING, {"windows_ms": list(lately.windows_ms), "segments": list(lately.segments)})
        files.array(layout.TRENDING_VALUES, lately.value_WM)
        files.lists(layout.SEGMENT_OFFSETS, layout.SEGMENT_ROWS, lately.liked)
    coverage = Coverage(
        accounts_with_neighbours=neighbours.covered(),
        media_with_co_occurring=together.liked.covered(),
        co_occurring_pairs=len(together.liked.rows),
        accounts_owned=int(((np.diff(follow.offsets) > 0) | (np.diff(engaged.offsets) > 0)).sum()),
        segments=len(lately.segments),
    )
    return SourcingQuality(accounts.quality, media.quality, coverage)


class _Files:
    """The files under one directory, each in the format that its kind of content has."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def array(self, relative: str, array: NDArray[Any]) -> None:
        np.save(self._path(relative), array, allow_pickle=False)

    def lists(self, offsets: str, rows: str, lists: Lists) -> None:
        self.array(offsets, lists.offsets)
        self.array(rows, lists.rows)

    def index(self, relative: str, rows: str, index: VectorIndex) -> None:
        faiss.write_index(index.index, str(self._path(relative)))
        self.array(rows, index.row_I)

    def json(self, relative: str, content: dict[str, Any]) -> None:
        self._path(relative).write_text(json.dumps(content), encoding="utf-8")

    def _path(self, relative: str) -> Path:
        path = self._root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
