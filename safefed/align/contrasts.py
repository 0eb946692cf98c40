"""Written contrasts: a harmless prompt with its answer, and a harmful one as near to it in words and topic as can be.

They are what a model learns least from grammars and benchmarks' look-alikes: that words alone do not make a request
harmful (contrast sets, arXiv 2004.02709). The suite ``contrasts`` holds others, to measure on.
"""

from __future__ import annotations

import functools

from safefed.records import Sample
from safefed.tiny.tables import written


@functools.cache
def contrasts() -> tuple[tuple[Sample, Sample], ...]:
    """All 300, each as the harmless sample, answered, and the harmful one, which is not."""
    rows = written("alignment_contrasts")
    return tuple((Sample.of(harmless, answer), Sample.of(harmful)) for harmless, answer, harmful in rows)
