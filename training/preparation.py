"""What a recipe's models learn from: the log cut by time, embeddings from its first window, the rankers' examples from the others.

Knows the order of these steps and what each may see; knows no ranker and writes no file.
"""

from __future__ import annotations

from dataclasses import dataclass

from training.checkpoints import Keeper
from training.contexts import ContextLog
from training.datasets import Dataset
from training.errors import FitError
from training.event_log import EventLog
from training.ig2vec import train_account_vectors
from training.impressions import impressions_of
from training.log_positions import check_positions
from training.log_times import check_times, check_windows, moment
from training.progress import Steps
from training.ranking_build import build_ranking_set
from training.ranking_set import RankingSet
from training.recipes import Recipe, Windows
from training.snapshots import ItemTables, ItemVectors, busiest_surfaces
from training.stored_log import StoredLog
from training.two_tower import train_media_vectors


@dataclass(frozen=True)
class Cuts:
    """The moments at which the log is cut, milliseconds: see `Windows`."""

    start_ms: int
    embedding_end_ms: int
    valid_start_ms: int
    test_start_ms: int
    end_ms: int

    def windows(self) -> dict[str, tuple[int, int]]:
        """Start and end, milliseconds, of what the rankers train on, stop and are calibrated on, and are measured on."""
        return {
            "training": (self.embedding_end_ms, self.valid_start_ms),
            "validation": (self.valid_start_ms, self.test_start_ms),
            "test": (self.test_start_ms, self.end_ms),
        }


@dataclass(frozen=True)
class RankingSets:
    """The rankers' examples of the three later windows.

    `frozen` are the impressions of `test`, each user with the history that they had when the window began, and at the place on the
    page that serving assumes: for GAUC.
    """

    train: RankingSet
    valid: RankingSet
    test: RankingSet
    frozen: RankingSet
    orphans: int  # actions that no impression explains: they train nothing


class Preparation:
    """The first steps of a run, and what all later ones share.

    Raises FitError as `cut` does, and before anything is trained for a log whose times or positions cannot be right, or a window
    without impressions.
    """

    def __init__(self, recipe: Recipe, dataset: Dataset | StoredLog, steps: Steps, keep: Keeper) -> None:
        self.recipe, self.dataset, self.steps, self.keep = recipe, dataset, steps, keep
        self.log = dataset.log if isinstance(dataset, StoredLog) else EventLog.from_dataset(dataset)
        check_times(self.log)
        check_positions(self.log)
        self.cuts = cut(int(self.log.time_ms_E[0]), dataset.as_of_ms, recipe.windows)
        check_windows(self.log, self.cuts.windows())
        self.contexts = ContextLog(self.log, dataset.users)

    def vectors(self) -> ItemVectors:
        """Account and media embeddings from the first window. Raises FitError if it teaches none."""
        end_ms, recipe = self.cuts.embedding_end_ms, self.recipe
        with self.steps.step("account embeddings (ig2vec)") as report:
            account_UE = train_account_vectors(
                self.log, end_ms, recipe.ig2vec, report, self.keep.checkpoint("account embeddings")
            )
        bare = ItemTables(self.log, self.dataset.media, ItemVectors.zeros(self.log)).as_of(end_ms)
        with self.steps.step("media embeddings (two towers)") as report:
            media_MD = train_media_vectors(
                self.log,
                self.contexts,
                bare,
                end_ms=end_ms,
                config=recipe.two_tower,
                progress=report,
                checkpoint=self.keep.checkpoint("media embeddings"),
            )
        for kind, vectors in (("account", account_UE), ("media", media_MD)):
            if not vectors.any():
                raise FitError(
                    f"no {kind} vector could be trained: the embedding window, {moment(self.cuts.start_ms)} to {moment(end_ms)}, "
                    f"has {len(self.log.positives_before(end_ms))} positive actions; bring more days, or a larger "
                    "embedding_share in the recipe's windows"
                )
        return ItemVectors(media_MD, account_UE)

    def item_tables(self, vectors: ItemVectors) -> ItemTables:
        """The item table as of any moment, with these vectors in all of them."""
        return ItemTables(self.log, self.dataset.media, vectors, surfaces=busiest_surfaces(self.log))

    def ranking_sets(self, tables: ItemTables) -> RankingSets:
        """The rankers' examples of the three later windows, and those of the test window once more for GAUC."""
        cuts, most = self.cuts, self.recipe.max_impressions
        windows = cuts.windows()
        examples = {
            "training": (windows["training"], most, None),
            "validation": (windows["validation"], None, None),
            "test": (windows["test"], None, None),
            "GAUC": (windows["test"], None, cuts.test_start_ms),
        }
        with self.steps.step("labels"):
            shown = impressions_of(self.log)
        made: list[RankingSet] = []
        for name, ((start_ms, end_ms), limit, until_ms) in examples.items():
            with self.steps.step(f"{name} examples") as report:
                made.append(
                    build_ranking_set(
                        shown,
                        self.contexts,
                        tables,
                        start_ms=start_ms,
                        end_ms=end_ms,
                        max_impressions=limit,
                        history_until_ms=until_ms,
                        progress=report,
                    )
                )
        train, valid, test, frozen = made
        return RankingSets(train, valid, test, frozen, shown.n_orphans)


def cut(start_ms: int, end_ms: int, windows: Windows) -> Cuts:
    """The windows of a log that begins and ends then. Raises FitError if no time is left for the rankers to train on."""
    embedding_end_ms = start_ms + int((end_ms - start_ms) * windows.embedding_share)
    test_start_ms = end_ms - windows.test_ms
    valid_start_ms = test_start_ms - windows.valid_ms
    if valid_start_ms <= embedding_end_ms:
        hours = (end_ms - start_ms) / 3_600_000
        raise FitError(
            f"a log of {hours:.0f} h leaves the rankers no time to train on; bring more days or shorten the recipe's windows"
        )
    return Cuts(start_ms, embedding_end_ms, valid_start_ms, test_start_ms, end_ms)
