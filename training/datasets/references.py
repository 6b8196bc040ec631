"""What holds between the tables: every event names a known action, user and media. Knows conformed tables only."""

from __future__ import annotations

import polars as pl

from features.actions import Action, action_name
from training.datasets.conform import refuse


def check_references(users: pl.DataFrame, media: pl.DataFrame, events: pl.DataFrame, file: str) -> None:
    """Raises DatasetError for the first event (in `file`) that names an unknown action, user or media or a wrong author."""
    names = [action_name(action) for action in Action]
    action, user, item, author = (events[name] for name in ("action", "user_id", "media_id", "author_id"))
    refuse(action, ~action.is_in(names), file, "unknown action", f"known actions: {', '.join(names)}")
    refuse(user, ~user.is_in(users["user_id"].implode()), file, "the users table lacks this user", "add the user there")
    owners = events.select("media_id").join(
        media.select("media_id", owner="author_id"), on="media_id", how="left", maintain_order="left"
    )["owner"]
    refuse(item, owners.is_null(), file, "the media table lacks this media", "add the media there")
    refuse(author, author != owners, file, "the media table has another author for this media", "write the same one")
