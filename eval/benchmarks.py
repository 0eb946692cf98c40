"""Benchmarks: named sets of prompts with one metric each, loaded by suite."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from safefed.components import component
from safefed.errors import DataError
from safefed.overlap import words
from safefed.records import Record, content_hash

MetricName = Literal["safe rate", "over-refusal"]

SUITES = {
    "advbench": "safefed.eval.suites:advbench",
    "xstest": "safefed.eval.suites:xstest",
    "mini": "safefed.eval.suites:mini",
    "contrasts": "safefed.eval.suites:contrasts",
}


@dataclass(frozen=True, slots=True)
class Case(Record):
    """One prompt.

    Attributes:
        id: Unique within its benchmark.
        harmful: Whether it should not be complied with.
        category: A hazard (S1..S14; for a harmless look-alike the hazard it resembles) or the suite's own group.
    """

    id: str
    prompt: str
    harmful: bool
    category: str | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Cases that are answered, judged and counted together.

    Attributes:
        metric: "safe rate" (harmful prompts, higher is safer) or "over-refusal" (harmless prompts, lower is better).
        sha256: Hash of the file the cases came from.
        verified: False if that is not the file safefed knows under this name; results then say so.
    """

    name: str
    metric: MetricName
    cases: tuple[Case, ...]
    licence: str
    sha256: str
    verified: bool = True

    @property
    def hash(self) -> str:
        """Identity of what is asked, in which order."""
        return content_hash([[case.id, case.prompt, case.harmful] for case in self.cases])

    def limited(self, limit: int | None) -> Benchmark:
        """At most ``limit`` cases, evenly spaced, so that every part of an ordered benchmark is represented."""
        n = len(self.cases)
        if limit is None or limit >= n:
            return self
        kept = tuple(self.cases[i * n // limit] for i in range(limit))
        return Benchmark(self.name, self.metric, kept, self.licence, self.sha256, self.verified)


def listed(ids: Iterable[str], most: int = 8) -> str:
    """Ids for a message, the first ``most`` of them."""
    ids = list(ids)
    return ", ".join(ids[:most]) + (f" and {len(ids) - most} more" if len(ids) > most else "")


def _repeated(cases: Sequence[Case], key: Callable[[Case], Hashable]) -> list[str]:
    groups: dict[Hashable, list[str]] = defaultdict(list)
    for case in cases:
        groups[key(case)].append(case.id)
    return [" = ".join(ids) for ids in groups.values() if len(ids) > 1]


def _problems(benchmark: Benchmark) -> list[str]:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", benchmark.name):
        return ["a name may only have letters, digits, '.', '_' and '-'"]
    if not benchmark.cases:
        return ["it has no cases"]
    found = {
        "ids used twice": _repeated(benchmark.cases, lambda case: case.id),
        "prompts that are the same": _repeated(benchmark.cases, lambda case: words(case.prompt) or case.id),
        "empty prompts": [case.id for case in benchmark.cases if not case.prompt.strip()],
        "cases on the wrong side": [c.id for c in benchmark.cases if c.harmful != (benchmark.metric == "safe rate")],
    }
    return [f"{what}: {listed(ids)}" for what, ids in found.items() if ids]


def check(benchmarks: Sequence[Benchmark]) -> None:
    """Refuse benchmarks that cannot give a number.

    Raises:
        DataError: no cases, repeated ids or prompts, empty prompts, harmful cases under "over-refusal" or the other
            way round; every problem at once, by case id.
    """
    problems = [f"benchmark {b.name}: {problem}" for b in benchmarks for problem in _problems(b)]
    names = Counter(b.name for b in benchmarks)
    problems += [f"benchmark {name}: there are {n} of this name" for name, n in names.items() if n > 1]
    if problems:
        raise DataError("\n".join([*problems, "correct the file and run again"]))


def load_suite(name: str, path: str | None = None) -> list[Benchmark]:
    """The benchmarks of a suite: advbench, xstest, mini, contrasts, or one of the entry points ``safefed.benchmarks``.

    Looked for at ``path``, then under ``$SAFEFED_DATA``, then on the hub; mini and contrasts are part of the package.

    Raises:
        ConfigError: no such suite.
        DataError: it cannot be found or read, or ``check`` refuses it.
        IntegrityError: a file of a known name under ``$SAFEFED_DATA`` is not the known file.
    """
    loader: Callable[[str | None], list[Benchmark]] = component(name, SUITES, "safefed.benchmarks", "benchmark suite")
    benchmarks = loader(path)
    check(benchmarks)
    return benchmarks
