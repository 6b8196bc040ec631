"""What was known about a user at any moment of the log: the same columns that user state holds online at that moment.

Knows how to look back; knows nothing of items, features or models.

Shapes: B requests, E events, A action codes, W windows of recent counts, H history entries and F followed
accounts of all requests, S seen media.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.actions import HISTORY_ACTIONS, N_ACTIONS, Action
from features.context import HISTORY_LENGTH, LONG_HISTORY_LENGTH, UNKNOWN_COUNT, UNKNOWN_TIME, UserContexts
from features.recency import N_WINDOWS, RecentCounts, fading
from features.relations import MAX_ACCOUNTS, NO_ACCOUNT, Relation, no_accounts
from features.user_state import HISTORY_RECORD, SEEN_LENGTH, Profile, UserState
from training.columns import NO_GROUP, chunks, gathered, grouped
from training.decay import decayed_sums
from training.event_log import EventLog

Int64 = NDArray[np.int64]


class ContextLog:
    """Point-in-time user contexts over a log. Raises ValueError if a user of the log is listed twice in `users`."""

    def __init__(self, log: EventLog, users: pl.DataFrame) -> None:
        self.log = log
        profiles = pl.DataFrame({"user_id": list(log.user_ids)}, schema={"user_id": pl.String})
        profiles = profiles.join(users, on="user_id", how="left", maintain_order="left", validate="m:1")
        registered = profiles["registered_at"].dt.epoch("ms").fill_null(UNKNOWN_TIME)
        self._registered_at_ms = registered.to_numpy().astype(np.int64)
        self._n_following = profiles["n_following"].fill_null(UNKNOWN_COUNT).to_numpy().astype(np.int64)
        self._n_followers = profiles["n_followers"].fill_null(UNKNOWN_COUNT).to_numpy().astype(np.int64)
        self._segments: list[str] = profiles["segment"].fill_null("").to_list()
        self._account_id = profiles["account_id"].fill_null(NO_ACCOUNT).to_numpy().astype(np.int64)

    def at(
        self,
        user_B: NDArray[np.integer],
        time_ms_B: Int64,
        surfaces: Sequence[str],
        history_length: int = HISTORY_LENGTH,
        known_until_ms: int | None = None,
    ) -> UserContexts:
        """The users numbered `user_B` as they were just before `time_ms_B`: only events with an earlier time count.

        Histories hold the newest `history_length` actions; the deep ranker alone reads LONG_HISTORY_LENGTH of them.
        A log knows whom users began to follow; it knows nothing of muted or blocked accounts. With `known_until_ms` the contexts
        are those of a log without the events from then on: the request keeps its time, to which ages and decay are counted.
        """
        known_ms_B = time_ms_B if known_until_ms is None else np.minimum(time_ms_B, known_until_ms)
        bound_B = self._bounds(user_B, np.searchsorted(self.log.time_ms_E, known_ms_B))
        first_B = self._bounds(user_B, np.zeros(len(user_B), dtype=np.int64))
        history_keys, history_events = self._history
        end_B = np.searchsorted(history_keys, bound_B)
        start_B = np.maximum(np.searchsorted(history_keys, first_B), end_B - history_length)
        event_H = history_events[_ranges(start_B, end_B - start_B)]
        followed_offsets, followed_F = self._followed(first_B, bound_B)
        return UserContexts(
            user_ids=tuple(self.log.user_ids[user] for user in user_B),
            request_time_ms_B=time_ms_B,
            surfaces=tuple(surfaces),
            history_offsets=np.concatenate([[0], np.cumsum(end_B - start_B)]).astype(np.int64),
            history_media_id_H=self.log.media_id_E[event_H],
            history_action_H=self.log.action_E[event_H],
            history_time_ms_H=self.log.time_ms_E[event_H],
            action_counts_BA=self._counts(first_B, bound_B),
            recent_counts_BWA=self._recent(first_B, bound_B, time_ms_B).astype(np.float32),
            registered_at_ms_B=self._registered_at_ms[user_B],
            n_following_B=self._n_following[user_B],
            n_followers_B=self._n_followers[user_B],
            segments=tuple(self._segments[user] for user in user_B),
            account_id_B=self._account_id[user_B],
            relation_offsets=followed_offsets,
            relation_account_id_R=followed_F,
            relation_kind_R=np.full(len(followed_F), Relation.FOLLOWED, dtype=np.uint8),
        )

    def seen(self, user: int, time_ms: int) -> Int64:
        """Media shown to the user before `time_ms`, each once, the latest last, SEEN_LENGTH of them at most. Shape [S]."""
        keys, events = self._of_action[Action.IMPRESSION]
        user_B = np.array([user])
        start = int(np.searchsorted(keys, self._bounds(user_B, np.zeros(1, dtype=np.int64)))[0])
        end = int(np.searchsorted(keys, self._bounds(user_B, np.array([self.log.count_before(time_ms)])))[0])
        return _once(self.log.media_id_E[events[start:end]])[-SEEN_LENGTH:]

    def final_states(self) -> Iterator[tuple[str, UserState]]:
        """The state of every user after the last event, as online appends would have left it; for loading Valkey in bulk."""
        users = len(self.log.user_ids)
        starts = np.arange(users + 1, dtype=np.int64) * (len(self.log) + 1)
        seen_keys, seen_events = self._of_action[Action.IMPRESSION]
        history_keys, history_events = self._history
        history_at, seen_at = np.searchsorted(history_keys, starts), np.searchsorted(seen_keys, starts)
        counts_BA = self._counts(starts[:-1], starts[1:])
        last_ms_B = self._last_ms(users)
        recent_BWA = self._recent(starts[:-1], starts[1:], last_ms_B)
        followed_at, followed_F = self._followed(starts[:-1], starts[1:])
        records_H = self._records(history_events)
        seen_media = self.log.media_id_E[seen_events]
        for user, user_id in enumerate(self.log.user_ids):
            history_H = records_H[
                max(history_at[user], history_at[user + 1] - LONG_HISTORY_LENGTH) : history_at[user + 1]
            ]
            seen_S = _once(seen_media[seen_at[user] : seen_at[user + 1]])[-SEEN_LENGTH:]
            relations = no_accounts() | {Relation.FOLLOWED: followed_F[followed_at[user] : followed_at[user + 1]]}
            recent = RecentCounts(int(last_ms_B[user]), recent_BWA[user])
            yield user_id, UserState(self._profile(user), history_H, counts_BA[user], seen_S, relations, recent)

    def _profile(self, user: int) -> Profile:
        following, followers = int(self._n_following[user]), int(self._n_followers[user])
        registered, account = int(self._registered_at_ms[user]), int(self._account_id[user])
        return Profile(registered, following, followers, self._segments[user], account)

    def _records(self, history_events: Int64) -> NDArray[np.void]:
        records_H = np.empty(len(history_events), dtype=HISTORY_RECORD)
        records_H["media_id"] = self.log.media_id_E[history_events]
        records_H["action"] = self.log.action_E[history_events]
        records_H["time_ms"] = self.log.time_ms_E[history_events]
        return records_H

    # An event's key orders the log by user, then by place in the log. The log is sorted by time, so "before t" is "before the
    # place of t", and one sorted array of keys answers it for all users at once.

    def _bounds(self, user_B: NDArray[np.integer], place_B: NDArray[np.integer]) -> Int64:
        return user_B.astype(np.int64) * (len(self.log) + 1) + place_B

    @cached_property
    def _history(self) -> tuple[Int64, Int64]:
        """The sorted keys of the events that histories show, and the events."""
        return self._by_user(HISTORY_ACTIONS)

    @cached_property
    def _of_action(self) -> list[tuple[Int64, Int64]]:
        """Per action code: the sorted keys, and the events that they belong to."""
        return [self._by_user([action]) for action in range(N_ACTIONS)]

    @cached_property
    def _followed_again(self) -> Int64:
        """Per follow event: the key of the user's next one of the same account; beyond all keys where there is none."""
        keys, events = self._of_action[Action.FOLLOW]
        again = np.full(len(keys), np.iinfo(np.int64).max)
        user_E, author_E = self.log.user_E[events], self.log.author_id_E[events]
        order = np.lexsort((keys, author_E, user_E))
        same = (np.diff(user_E[order]) == 0) & (np.diff(author_E[order]) == 0)
        again[order[:-1][same]] = keys[order[1:][same]]
        return again

    def _followed(self, first_B: Int64, bound_B: Int64) -> tuple[Int64, Int64]:
        """Offsets [B + 1] and accounts [F] that the users follow by the bounds: each once, where it was followed last."""
        keys, events = self._of_action[Action.FOLLOW]
        start_B, end_B = np.searchsorted(keys, first_B), np.searchsorted(keys, bound_B)
        place_X = _ranges(start_B, end_B - start_B)
        user_X = np.repeat(np.arange(len(bound_B)), end_B - start_B)
        last_X = self._followed_again[place_X] >= bound_B[user_X]
        place_X, user_X = place_X[last_X], user_X[last_X]
        count_B = np.bincount(user_X, minlength=len(bound_B))
        newer_X = np.cumsum(count_B)[user_X] - 1 - np.arange(len(user_X))  # accounts that the user followed later
        newest_X = newer_X < MAX_ACCOUNTS[Relation.FOLLOWED]
        count_B = np.minimum(count_B, MAX_ACCOUNTS[Relation.FOLLOWED])
        offsets = np.concatenate([[0], np.cumsum(count_B)]).astype(np.int64)
        return offsets, self.log.author_id_E[events[place_X[newest_X]]]

    def _by_user(self, actions: Iterable[int]) -> tuple[Int64, Int64]:
        log, chosen_A = self.log, np.zeros(N_ACTIONS, dtype=np.bool_)
        chosen_A[list(actions)] = True

        def user_of(of: slice) -> NDArray[np.integer]:
            return np.where(chosen_A[log.action_E[of]], log.user_E[of], NO_GROUP)

        events, _ = grouped(user_of, 0, len(log), len(log.user_ids), log.scratch)
        keys: Int64 = log.scratch.empty(events.shape, np.int64)
        for of in chunks(0, len(events)):
            keys[of] = self._bounds(log.user_E[events[of]], events[of])
        return keys, events

    def _counts(self, first_B: Int64, bound_B: Int64) -> NDArray[np.uint32]:
        counts_BA = np.zeros((len(bound_B), N_ACTIONS), dtype=np.uint32)
        for action, (keys, _) in enumerate(self._of_action):
            counts_BA[:, action] = np.searchsorted(keys, bound_B) - np.searchsorted(keys, first_B)
        return counts_BA

    def _recent(self, first_B: Int64, bound_B: Int64, time_ms_B: Int64) -> NDArray[np.float64]:
        """Counts that decay until `time_ms_B`, [B, W, A]."""
        recent_BWA = np.zeros((len(bound_B), N_WINDOWS, N_ACTIONS))
        for action, (keys, events) in enumerate(self._of_action):
            last_B = np.searchsorted(keys, bound_B) - 1
            done_B = np.flatnonzero(last_B >= np.searchsorted(keys, first_B))
            last_X = last_B[done_B]
            waited_ms_X = time_ms_B[done_B] - self.log.time_ms_E[events[last_X]]
            recent_BWA[done_B, :, action] = (self._decayed[action][:, last_X] * fading(waited_ms_X)).T
        return recent_BWA

    @cached_property
    def _decayed(self) -> list[NDArray[np.float64]]:
        """Per action code: what is left of the user's events at each event of that action, [W, K]."""
        log, scratch = self.log, self.log.scratch
        return [
            decayed_sums(gathered(log.user_E, events, scratch), gathered(log.time_ms_E, events, scratch), scratch)
            for _, events in self._of_action
        ]

    def _last_ms(self, users: int) -> Int64:
        """Time of the last event of every user, 0 for users without any. Shape [B]."""
        last_ms_B = np.zeros(users, dtype=np.int64)
        for of in chunks(0, len(self.log)):
            np.maximum.at(last_ms_B, self.log.user_E[of], self.log.time_ms_E[of])
        return last_ms_B


def _ranges(start_B: Int64, length_B: Int64) -> Int64:
    """start, start + 1, ... for every range, one after the other."""
    before_B = np.cumsum(length_B) - length_B
    return np.repeat(start_B - before_B, length_B) + np.arange(int(length_B.sum()))


def _once(media_id_S: Int64) -> Int64:
    """Each media id once, where it came last."""
    found, behind = np.unique(media_id_S[::-1], return_index=True)
    return media_id_S if len(found) == len(media_id_S) else media_id_S[np.sort(len(media_id_S) - 1 - behind)]
