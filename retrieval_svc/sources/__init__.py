"""Sources: each proposes media for all users of a batch. The list is below; to add one, write a file and a line (README.md)."""

from __future__ import annotations

from retrieval_svc.sources.account_nn import AccountNnSource
from retrieval_svc.sources.engaged_accounts import EngagedAccountsSource
from retrieval_svc.sources.fresh import FreshSource
from retrieval_svc.sources.source import Source
from retrieval_svc.sources.topic_trending import TopicTrendingSource
from retrieval_svc.sources.trending import TrendingSource

SOURCES: tuple[Source, ...] = (
    AccountNnSource(),
    EngagedAccountsSource(),
    TopicTrendingSource(),
    TrendingSource(),
    FreshSource(),
)

__all__ = ["SOURCES", "Source"]
