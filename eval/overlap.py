"""Does training data contain a benchmark's prompts?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from safefed.errors import DataError
from safefed.eval.benchmarks import Case, listed
from safefed.overlap import Index


def require_disjoint(cases: Sequence[Case], texts: Iterable[str], what: str) -> None:
    """Refuse to evaluate on what was trained on: the same words, or at least half of the word 5-grams (Jaccard).

    Args:
        cases: Benchmark cases; their prompts are compared.
        texts: Training prompts, one user turn each (a prompt glued to its answer would hide the overlap). May be a
            stream: only the cases are held in memory.
        what: What ``texts`` is, for the message.

    Raises:
        DataError: naming the cases that ``texts`` repeats.
    """
    repeats = Index(case.prompt for case in cases).find(texts)
    found = sorted({cases[repeat.of].id for repeat in repeats})
    if found:
        raise DataError(
            f"{what} repeats {len(found)} benchmark case(s): {listed(found)}; a score on them would measure memory. "
            "Remove those rows from the training data"
        )
