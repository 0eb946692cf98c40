"""What ``linear`` and ``embedding`` share: heads turn texts into axis scores, and name what is flagged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from safefed.filters.base import AXES
from safefed.filters.categories import Categories
from safefed.filters.combine import OPENING, combine_judged, score_exchanges, to_verdict
from safefed.filters.heads import Heads, hazard_of
from safefed.filters.static import packaged_vectors
from safefed.filters.whole_exchanges import likeliest_hazards, score_whole
from safefed.filters.word_table import WordTable
from safefed.records import Sample, Verdict, content_hash

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCH = 2048


class HeadsFilter:
    """Scores the axes of its heads in [0, 1] and names the hazard category of what it flags.

    Args:
        name: How the configuration names it.
        heads: What was fitted.
        revision: What decides the logits; hashed together with the threshold.
        threshold: The unsafe probability from which a row is flagged.
    """

    def __init__(self, name: str, heads: Heads, revision: Any, threshold: float) -> None:
        self.name = name
        self.threshold = threshold
        self.revision = content_hash([revision, threshold])
        self._heads = heads
        self._static = packaged_vectors()
        self._words = WordTable(self._static)
        self._categories = Categories(heads, self._words)

    def logits(self, name: str, texts: Sequence[str]) -> NDArray[Any]:
        """Of each text's most telling passage under the head ``name``, shape (texts,)."""
        raise NotImplementedError

    def score(self, samples: Sequence[Sample]) -> list[Verdict]:
        """See ``Filter``; equal texts are scored once per batch of 2,048 samples."""
        return [v for start in range(0, len(samples), _BATCH) for v in self._batch(samples[start : start + _BATCH])]

    def probabilities(self, axis: str, texts: Sequence[str]) -> list[float]:
        """The calibrated score of each text on one axis; "refusal" reads the first 300 characters."""
        read = [text[:OPENING] for text in texts] if axis == "refusal" else texts
        return self._heads.probabilities(axis, np.stack([self.logits(name, read) for name in self._heads.of(axis)]))

    def _batch(self, samples: Sequence[Sample]) -> list[Verdict]:
        rows = self._rows(samples)
        verdicts = [self._verdict(sample, scores) for sample, scores in zip(samples, rows, strict=True)]
        flagged = [i for i, verdict in enumerate(verdicts) if verdict.action == "revise"]
        named = self._named([samples[i] for i in flagged]) if flagged else []
        for i, category in zip(flagged, named, strict=True):
            verdicts[i] = replace(verdicts[i], category=category)
        return verdicts

    def _rows(self, samples: Sequence[Sample]) -> list[list[dict[str, float]]]:
        if self._heads.about.get("whole"):
            return score_whole(self._heads, self.logits, samples)
        return score_exchanges(samples, self.probabilities, [axis for axis in AXES if self._heads.of(axis)])

    def _named(self, samples: Sequence[Sample]) -> list[str]:
        """The hazard of each sample, by heads for single hazards where there are any."""
        names = self._categories.of(samples)
        for axis in ("prompt", "response"):
            rows = [i for i, sample in enumerate(samples) if bool(sample.response) is (axis == "response")]
            if rows and any(map(hazard_of, self._heads.of(axis))):
                pairs = [(samples[i].prompt, samples[i].response) for i in rows]
                for i, hazard in zip(rows, likeliest_hazards(self._heads, self.logits, axis, pairs), strict=True):
                    names[i] = hazard
        return names

    def _verdict(self, sample: Sample, scores: Sequence[Mapping[str, float]]) -> Verdict:
        settings = {"name": self.name, "revision": self.revision}
        return to_verdict(sample.id, scores, **settings, threshold=self.threshold, rule=combine_judged)
