"""What the revising model says, kept on disk until the chunk of rows that it is for is there."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safefed.dataset import GENERATIONS, DatasetWriter
from safefed.generate import Generator
from safefed.generations import Remembered
from safefed.progress import Advance
from safefed.screening import Reviser

TOKENS = ("prompt_tokens", "cached_tokens", "completion_tokens")


class Memory:
    """A reviser whose generator is made when the first row is flagged, and whose answers outlive a kill.

    Where originals may not be kept they outlive nothing: a critique may quote the answer it is about.

    Args:
        reviser: Who revises; None if nobody does.
        writer: Where the chunks go.
        start: Called when the generator is first used; what it returns is told of new answers.

    Attributes:
        reviser: The one to use instead.
    """

    def __init__(self, reviser: Reviser | None, writer: DatasetWriter, start: Callable[[], Advance]) -> None:
        self._writer, self._start = writer, functools.cache(start)
        self._chunk: Remembered | None = None
        self.reviser: Reviser | None = None
        if reviser:
            make = functools.cache(reviser.generator)
            path = writer.folder / GENERATIONS if reviser.config.keep_originals else None
            self.reviser = replace(reviser, generator=lambda: self._opened(make(), path))

    def _opened(self, generator: Generator, path: Path | None) -> Generator:
        self._chunk = self._chunk or Remembered(generator, path, self._writer.state, self._start())
        return self._chunk

    @property
    def counts(self) -> Counter[str]:
        """What the chunk at work adds to the data set's counts."""
        counts = self._chunk.counts if self._chunk else {}
        return Counter({f"generation {name}": n for name, n in counts.items()})

    @property
    def facts(self) -> dict[str, str]:
        """What all chunks with flagged rows must agree on."""
        return {"generator_revision": self._chunk.revision} if self._chunk else {}

    def forget(self) -> None:
        """The chunk at work is on disk."""
        if self._chunk:
            self._chunk.forget()
        self._chunk = None


def generations(counts: Mapping[str, int]) -> dict[str, Any]:
    """What the manifest says under "generations".

    "answers", "failed" (requests that got no usable answer) and the tokens of the answers, None where nobody counted.
    """
    counted = any(f"generation {name}" in counts for name in TOKENS)
    found = {name: counts.get(f"generation {name}", 0) for name in ("answers", "failed", *TOKENS)}
    return {"generations": found | ({} if counted else dict.fromkeys(TOKENS))}
