"""Random programs that pass the checker: every operator, nested combinations, limits and filters wherever they may stand."""

from __future__ import annotations

import numpy as np


class Programs:
    """Draws programs. The same seed draws the same programs."""

    def __init__(self, seed: int) -> None:
        self._draw = np.random.default_rng(seed)
        self._definitions: list[str] = []

    def program(self) -> str:
        """Text of one program: up to four sub-queries and a result that combines them."""
        self._definitions = []
        parts = [self._define(self._media(depth=2)) for _ in range(int(self._draw.integers(1, 4)))]
        result = self._combined(parts)
        return "\n".join([*self._definitions, result])

    def _define(self, text: str) -> str:
        name = f"q{len(self._definitions)}"
        self._definitions.append(f"{name} = {text}")
        return name

    def _pick(self, *texts: str) -> str:
        return texts[int(self._draw.integers(len(texts)))]

    def _count(self, most: int = 40) -> int:
        return int(self._draw.integers(1, most))

    def _combined(self, parts: list[str]) -> str:
        if len(parts) == 1:
            return self._shaped(parts[0], endless=True)
        kind = self._pick("mix", "mix", "union", "fallback", "nested")
        if kind == "nested" and len(parts) > 2:
            inner = self._define(self._mixed(parts[:2]))
            return self._pick("", "") + self._mixed([inner, *parts[2:]])
        if kind in ("mix", "nested"):
            return self._mixed(parts) + self._pick("", f".limit({self._count()})")
        if kind == "union":
            return self._shaped(f"union({', '.join(parts)})", endless=True)
        return f"fallback({', '.join(parts)}, at_least={self._count(20)})" + self._pick("", f".limit({self._count()})")

    def _mixed(self, parts: list[str]) -> str:
        weights = self._draw.choice([0, 0.1, 0.3, 0.5, 1, 2], size=len(parts))
        weights[int(self._draw.integers(len(parts)))] = 1
        return f"mix({', '.join(f'{part}={weight:g}' for part, weight in zip(parts, weights, strict=True))})"

    def _media(self, depth: int) -> str:
        pool = self._pick("user.trending()", "user.trending(window=48h)")
        if depth and self._draw.random() < 0.15:
            return f"union({self._media(depth - 1)}, {self._media(depth - 1)})"
        if self._draw.random() < 0.25:
            return self._shaped(pool, endless=True)
        finite = self._pick(
            f"user.topic_trending(max_topics={self._count(4)}, max_num_to_retrieve={self._count(100)})",
            f"user.segment_trending({self._count()})",
            f"user.fresh(max_age={self._count(20)}d, max_num_to_retrieve={self._count(80)})",
            f"user.media_nn(max_num_to_retrieve={self._count(60)})",
            f"{self._actions()}.media_nn(max_num_to_retrieve={self._count(10)})",
            f"{self._actions()}.co_occurring({self._count(10)})",
            f"{self._accounts()}.posted_media({self._count(12)})",
            f"{self._accounts()}.posted_media({self._count(12)})",
            f"{self._accounts()}.engaged_media({self._count(12)})",
        )
        return self._shaped(finite, endless=False)

    def _actions(self) -> str:
        first = self._pick("user", "user.let(seed=user_id)") + self._pick(
            f".liked({self._count()})", ".saved()", f".interacted(any, max_num_to_retrieve={self._count()})"
        )
        return first + self._pick("", "", f".sample({self._count(10)})", f".limit({self._count(10)})")

    def _accounts(self) -> str:
        first = self._pick(f"{self._actions()}.author()", f"user.followed({self._count(10)})", self._actions())
        if self._draw.random() < 0.15:
            first = f"union({first}, user.followed())"
        steps = [
            self._pick("", f".account_nn(max_num_to_retrieve={self._count(20)})", f".followed({self._count(4)})")
            for _ in range(2)
        ]
        tail = self._pick("", "", ".rank(popularity)", f".limit({self._count()})", f".sample({self._count()})")
        return first + "".join(steps) + (tail if any(steps) else "")

    def _shaped(self, text: str, endless: bool) -> str:
        seeds = ["seed"] if text.startswith("user.let(seed=user_id)") else []
        for _ in range(int(self._draw.integers(0, 4))):
            kind = self._pick("filter", "filter", "rank", "diversify", "limit", "sample")
            if kind == "filter":
                text += self._pick(
                    ".filter(non_recommendable_model_threshold=0.1)",
                    f".filter(max_age={self._count(25)}d)",
                    ".filter(topics=[topic-0, topic-1])".replace("topic-0", '"topic-0"').replace(
                        "topic-1", '"topic-1"'
                    ),
                    '.filter(not_topics="topic-2", max_duration=1h)',
                )
            elif kind == "limit":
                text, endless = f"{text}.limit({self._count(60)})", False
            elif not endless:
                text += {
                    "rank": f".rank({self._pick('default', 'quality', 'newest', 'trending', 'two_tower')})",
                    "diversify": f".diversify_by({self._pick('author_id', 'topic', *seeds)}, "
                    f"{self._pick('method=round_robin', 'method=max_per, max_per=2')})",
                    "sample": f".sample({self._count(60)})",
                }[kind]
        return text
