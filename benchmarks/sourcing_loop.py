"""The reference job of benchmarks/sourcing.py as a plain loop over Python objects, one user at a time: what columns are measured
against. Written for the same answer, from the same lists, without numpy in any request.

It keeps no account of what it dropped and why, which the service does.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np

from features.actions import NEGATIVE_ACTIONS, Action
from features.context import UserContexts
from features.counters import DAY_MS
from features.history import ACTION_WEIGHT, TASTE_HALF_LIFE_MS
from features.integrity import NON_RECOMMENDABLE_THRESHOLD
from features.relations import Relation
from retrieval_svc.catalogue import Catalogue

# The program of the benchmark in its own order: published, engaged, trending, new.
WEIGHTS: Final = (0.5, 0.2, 0.2, 0.1)
_SEEDS, _NEIGHBOURS, _POSTED, _ENGAGED, _FRESH, _SAMPLED = 30, 20, 10, 20, 2_000, 100
_MAX_AGE_MS = 7 * DAY_MS
_NEGATIVE = frozenset(int(action) for action in NEGATIVE_ACTIONS)
_READ_AHEAD, _FURTHER = 1.5, 4
_64_BITS = (1 << 64) - 1


@dataclass(slots=True)
class Media:
    """One media item."""

    number: int
    media_id: int
    author: Account
    created_ms: int
    risk: float
    flags: int
    quality: float


@dataclass(slots=True, eq=False)
class Account:
    """One account. `near` are the closest others with their cosines, `posted` its media, best first."""

    number: int
    near: list[tuple[Account, float]]
    posted: list[Media]


@dataclass(frozen=True)
class Asker:
    """A user as the loop gets one. `history`: media id, action, time; oldest first."""

    user_id: str
    now_ms: int
    account_id: int
    history: list[tuple[int, int, int]]
    avoided_ids: list[int]  # muted and blocked accounts
    seen: list[int]

    @classmethod
    def of(cls, context: UserContexts, seen: Iterable[int]) -> Asker:
        columns = (context.history_media_id_H, context.history_action_H, context.history_time_ms_H)
        avoided_R = np.isin(context.relation_kind_R, [Relation.MUTED, Relation.BLOCKED])
        return cls(
            user_id=context.user_ids[0],
            now_ms=int(context.request_time_ms_B[0]),
            account_id=int(context.account_id_B[0]),
            history=list(zip(*(column.tolist() for column in columns), strict=True)),
            avoided_ids=context.relation_account_id_R[avoided_R].tolist(),
            seen=[int(media_id) for media_id in seen],
        )


_Eligible = Callable[[Iterable[Media]], Iterator[Media]]


class PlainLoop:
    """A catalogue as objects."""

    def __init__(self, catalogue: Catalogue) -> None:
        items, orders = catalogue.items, catalogue.orders
        self._threshold = float(np.float32(NON_RECOMMENDABLE_THRESHOLD))  # scores are float32, and compared as such
        self._refused = (1 << len(items.policy_flags)) - 1
        self._accounts = [Account(number, [], []) for number in range(len(items.account_id_U))]
        rows_U = np.arange(len(self._accounts))
        near_Uk, cosine_Uk = catalogue.accounts.neighbours(rows_U, _NEIGHBOURS)
        for account, near, cosines in zip(self._accounts, near_Uk.tolist(), cosine_Uk.tolist(), strict=True):
            found = zip(near, cosines, strict=True)
            account.near = [(self._accounts[row], cosine) for row, cosine in found if row >= 0]
        columns = (items.media_id_M, items.author_row_M, items.created_at_ms_M, items.non_recommendable_M)
        flags_M, quality_M = items.policy_flags_M, orders.quality_M
        values = zip(*(column.tolist() for column in (*columns, flags_M, quality_M)), strict=True)
        media = [
            Media(number, media_id, self._accounts[author], created_ms, risk, flags, quality)
            for number, (media_id, author, created_ms, risk, flags, quality) in enumerate(values)
        ]
        for row in orders.posted_row_M.tolist():
            media[row].author.posted.append(media[row])
        self._trending = [media[row] for row in catalogue.trends(None).row_M.tolist()]
        self._newest = [media[row] for row in orders.newest_row_M.tolist()]
        self._media = {each.media_id: each for each in media}
        self._by_id = dict(zip(items.account_id_U.tolist(), self._accounts, strict=True))

    def answer(self, asker: Asker, count: int) -> list[Media]:
        """The whole job."""
        return [each for each, _, _ in self.candidates(asker, count)]

    def candidates(self, asker: Asker, count: int) -> list[tuple[Media, int, Account | None]]:
        """The same with the number of the source that brought each, and the account that led to it."""
        avoided = self._avoided(asker)
        eligible = self._eligible(asker, avoided)
        seeds = self._seeds(asker, avoided)
        turn = count * _READ_AHEAD
        published, seed_of = self._published(seeds, avoided, eligible)
        ranked = [
            published,
            _ranked(eligible, [(score, seed.posted[:_ENGAGED]) for seed, score in seeds]),
            [],
            self._sampled(asker, eligible),
        ]
        while True:
            read = [int(turn * weight) + 1 for weight in _shares_of_one()]
            ranked[2] = list(islice(eligible(self._trending), read[2] + 1))
            mixed, gave_all = _mixed([rows[:most] for rows, most in zip(ranked, read, strict=True)], count)
            short = [
                all_given and len(rows) > most for rows, most, all_given in zip(ranked, read, gave_all, strict=True)
            ]
            if not any(short):
                return [(each, source, self._seed(each, source, seed_of)) for source, each in mixed]
            turn *= _FURTHER

    def published(self, asker: Asker, count: int) -> list[Media]:
        """The published program alone."""
        avoided = self._avoided(asker)
        return self._published(self._seeds(asker, avoided), avoided, self._eligible(asker, avoided))[0][:count]

    def _seed(self, media: Media, source: int, seed_of: dict[Account, int]) -> Account | None:
        """Near accounts were found from a seed; what seeds themselves posted leads back to them; the others need none."""
        if source == 0:
            return self._accounts[seed_of[media.author]]
        return media.author if source == 1 else None

    def _avoided(self, asker: Asker) -> set[Account]:
        """Muted and blocked accounts, and those that the user lately hid."""
        avoided = {self._by_id[each] for each in asker.avoided_ids if each in self._by_id}
        for media_id, action, _ in asker.history:
            if action in _NEGATIVE and media_id in self._media:
                avoided.add(self._media[media_id].author)
        return avoided

    def _eligible(self, asker: Asker, avoided: set[Account]) -> _Eligible:
        seen, own, now_ms = set(asker.seen), self._by_id.get(asker.account_id), asker.now_ms
        threshold, refused = self._threshold, self._refused

        def eligible(media: Iterable[Media]) -> Iterator[Media]:
            return (
                each
                for each in media
                if each.created_ms <= now_ms
                and each.risk <= threshold
                and not each.flags & refused
                and each.author is not own
                and each.author not in avoided
                and each.media_id not in seen
            )

        return eligible

    def _seeds(self, asker: Asker, avoided: set[Account]) -> list[tuple[Account, float]]:
        """Authors of the newest liked media, and how far each leads."""
        weights: dict[int, float] = {}
        for media_id, action, time_ms in reversed(asker.history):
            if action == Action.LIKE and media_id in self._media:
                recency = _float32(math.exp2(-(asker.now_ms - time_ms) / TASTE_HALF_LIFE_MS))
                weights[media_id] = weights.get(media_id, 0.0) + _float32(ACTION_WEIGHT[Action.LIKE] * recency)
        by_author: dict[Account, float] = {}
        for media_id, weight in islice(weights.items(), _SEEDS):
            author = self._media[media_id].author
            by_author[author] = by_author.get(author, 0.0) + weight
        kept = {account: weight for account, weight in by_author.items() if account not in avoided}
        strongest = max(kept.values(), default=1.0)
        return [(account, math.sqrt(weight / strongest)) for account, weight in kept.items()]

    def _published(
        self, seeds: list[tuple[Account, float]], avoided: set[Account], eligible: _Eligible
    ) -> tuple[list[Media], dict[Account, int]]:
        """liked, account_nn, posted_media, filter, rank, diversify_by, and the number of the seed that found each author.

        The filter's threshold is that of the rules.
        """
        started = {seed for seed, _ in seeds}
        found = [
            (-cosine * score, seed.number, account)
            for seed, score in seeds
            for account, cosine in seed.near
            if account not in started
        ]
        found.sort(key=lambda each: each[:2])
        nearest: dict[Account, tuple[float, int]] = {}
        for score, seed_number, account in found:
            if account not in nearest:
                nearest[account] = (-score, seed_number)
        new = [(account, *path) for account, path in nearest.items() if account not in avoided]
        seed_of = {account: seed_number for account, _, seed_number in new}
        rows = _ranked(eligible, [(score, account.posted[:_POSTED]) for account, score, _ in new])
        rounds: list[list[Media]] = []
        place: dict[int, int] = {}
        for each in rows:
            number = seed_of[each.author]
            turn = place.get(number, 0)
            place[number] = turn + 1
            if turn == len(rounds):
                rounds.append([])
            rounds[turn].append(each)
        return [each for one in rounds for each in one], seed_of

    def _sampled(self, asker: Asker, eligible: _Eligible) -> list[Media]:
        """Some of the newest, drawn by the numbers that the service draws by (retrieval_svc/shuffle.py)."""
        latest, oldest = asker.now_ms, asker.now_ms - _MAX_AGE_MS
        recent: list[Media] = []
        for each in self._newest:
            if each.created_ms < oldest or len(recent) == _FRESH:
                break
            if each.created_ms <= latest:
                recent.append(each)
        digest = hashlib.blake2b(f"1 {asker.now_ms} {asker.user_id}".encode(), digest_size=8).digest()
        seed = int.from_bytes(digest, "little")
        return sorted(eligible(recent), key=lambda each: _key(each.media_id, seed))[:_SAMPLED]


def _ranked(eligible: _Eligible, accounts: list[tuple[float, list[Media]]]) -> list[Media]:
    """Posts of accounts by the account's score and their own quality."""
    rows: list[Media] = []
    scores: list[float] = []
    for score, posted in accounts:
        for each in eligible(posted):
            rows.append(each)
            scores.append(score * (1 + each.quality) / 2)
    return [rows[place] for place in sorted(range(len(rows)), key=scores.__getitem__, reverse=True)]


def _mixed(lists: list[list[Media]], count: int) -> tuple[list[tuple[int, Media]], list[bool]]:
    """The mix, each with the number of its list, and which lists gave everything.

    A media item goes to the list whose turn comes first; lists are spread evenly.
    """
    weights = _shares_of_one()
    owner: dict[int, tuple[float, int]] = {}
    for number, rows in enumerate(lists):
        for place, each in enumerate(rows):
            claim = (place / weights[number], number)
            if each.number not in owner or claim < owner[each.number]:
                owner[each.number] = claim
    own = [[each for each in rows if owner[each.number][1] == number] for number, rows in enumerate(lists)]
    take = _shares(count, [len(rows) for rows in own])
    heaviest_first = sorted(range(len(weights)), key=lambda number: -weights[number])
    dealt = [
        ((place + 0.5) / take[number], order, number, each)
        for order, number in enumerate(heaviest_first)
        for place, each in enumerate(own[number][: take[number]])
    ]
    dealt.sort(key=lambda each: each[:2])
    mixed = [(number, each) for _, _, number, each in dealt]
    return mixed, [taken == len(rows) for taken, rows in zip(take, own, strict=True)]


def _shares_of_one() -> list[float]:
    return [weight / sum(WEIGHTS) for weight in WEIGHTS]


def _shares(count: int, available: list[int]) -> list[int]:
    """By weight with largest remainders, what a list cannot give shared out again among the others."""
    take = [0] * len(available)
    while True:
        missing = count - sum(take)
        weights = [weight * (has > got) for weight, has, got in zip(_shares_of_one(), available, take, strict=True)]
        if missing <= 0 or not any(weights):
            return take
        exact = [round(missing * weight / sum(weights), 9) for weight in weights]
        more = [math.floor(each) for each in exact]
        order = sorted(range(len(exact)), key=lambda number: more[number] - exact[number])
        for number in order[: missing - sum(more)]:
            more[number] += 1
        take = [min(got + new, has) for got, new, has in zip(take, more, available, strict=True)]


def _key(media_id: int, seed: int) -> int:
    x = (media_id * 0x9E3779B97F4A7C15 & _64_BITS) ^ seed
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & _64_BITS
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & _64_BITS
    return (x ^ (x >> 31)) >> 32


def _float32(value: float) -> float:
    return array("f", [value])[0]
