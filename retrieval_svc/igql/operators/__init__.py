"""The operators. To add one: a class in the file where it belongs (or a new file, and a line here); `explore igql ops` shows it."""

from __future__ import annotations

from retrieval_svc.igql.operators import accounts, naming, people, pools, shaping, similar_media

__all__ = ["accounts", "naming", "people", "pools", "shaping", "similar_media"]
