"""Written contrasts: a harmless prompt with its answer, and a harmful one as near to it in words and topic as can be.

They are what a model learns least from grammars and benchmarks' look-alikes: that words alone do not make a request
harmful (contrast sets, arXiv 2004.02709). The suite ``contrasts`` holds others, to measure on.
"""

from __future__ import annotations

import functools
from importlib.resources import files

from safefed.records import Sample


@functools.cache
def contrasts() -> tuple[tuple[Sample, Sample], ...]:
    """All 300, each as the harmless sample, answered, and the harmful one, which is not."""
    text = (files("safefed.align") / "contrasts.tsv").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines())
    return tuple((Sample.of(harmless, answer), Sample.of(harmful)) for harmless, answer, harmful in rows)
