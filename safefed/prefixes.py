"""Keys and values of prompts that were read before, found again by the tokens that prompts begin with."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from safefed.caches import Pairs

SHORTEST = 16
"""Tokens; finding fewer again is not worth a copy."""

Tokens = tuple[int, ...]


def n_common(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens both begin with."""
    differing = (i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b)
    return next(differing, min(len(left), len(right)))


class Prefixes:
    """Prompts with their keys and values, in up to ``limit`` bytes; what does not fit any more is not kept.

    They hold for one state of the weights only: ``hold_for`` forgets all of them when that has changed.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._weights: Any = None
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._prompts: list[Tokens] = []
        self._held: dict[Tokens, Pairs] = {}
        self.bytes = 0

    def hold_for(self, weights: Any) -> None:
        """Forget everything unless ``weights``, anything that can be compared, are those of the last call."""
        if weights != self._weights:
            self.clear()
        self._weights = weights

    def keep(self, prompt: Tokens, held: Pairs) -> None:
        """Remember a prompt, unless it is known or there is no room for it.

        Args:
            prompt: Its tokens.
            held: Keys and values, (1, heads, tokens, width) each; copied.
        """
        from safefed.caches import copied, size

        if prompt not in self._held and self.bytes + size(held) <= self._limit:
            self._held[prompt] = copied(held)
            insort(self._prompts, prompt)
            self.bytes += size(held)

    def longest(self, prompt: Tokens) -> tuple[int, Pairs]:
        """How many tokens at the start of ``prompt`` are known, and the pairs that begin with them; (0, []) if none.

        At least one token is always left to be read, since it is the last one's output that is asked for.
        """
        place = bisect_left(self._prompts, prompt)  # in sorted order, what shares most is a neighbour
        near = self._prompts[max(0, place - 1) : place + 1]
        shared, best = max(((n_common(other, prompt), other) for other in near), default=(0, ()))
        shared = min(shared, len(prompt) - 1)
        return (shared, self._held[best]) if shared >= SHORTEST else (0, [])
