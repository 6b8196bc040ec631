"""The types that flow through a query. Nothing else."""

from __future__ import annotations

from enum import Enum


class Stage(Enum):
    """What the rows of a step are. A query leads from the user over accounts to media, never back."""

    USER = "user"
    ACTIONS = "actions"  # media that the user acted on, with their authors
    ACCOUNTS = "accounts"
    MEDIA = "media"
