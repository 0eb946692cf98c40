"""A model through benchmarks and their judges: answers kept, resumable, counted with error bars."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safefed.config import BenchmarkConfig, GeneratorConfig, ModelConfig
from safefed.errors import ConfigError
from safefed.eval.answers import answer
from safefed.eval.benchmarks import Benchmark, check, load_suite
from safefed.eval.judges import Judge, label_records, load_judge
from safefed.eval.metrics import count, score
from safefed.filters.profile import base_name
from safefed.generate import Generation, Generator, LocalGenerator
from safefed.generations import load_generator
from safefed.progress import Progress, Silent
from safefed.records import EvalRecord
from safefed.store import read_json, read_jsonl, read_manifest, write_json, write_jsonl, write_manifest

Results = dict[str, dict[str, dict[str, Any]]]
"""``{BENCHMARK: {JUDGE: {"metric", "value", "n", "n_unscored", "ci95", "per_seed", "labels", "independent",
"verified"}}}``."""

REQUEST = "request.json"
JOURNAL = "journal"
_LOCAL = GeneratorConfig()


def load_benchmarks(config: BenchmarkConfig) -> list[Benchmark]:
    """The benchmarks of ``config.suites``, at most ``config.limit`` cases each.

    Raises:
        ConfigError: no such suite, or a path for a suite that is not run.
        DataError: a suite cannot be loaded; see ``safefed.eval.load_suite``.
    """
    strangers = sorted(set(config.paths) - set(config.suites))
    if strangers:
        raise ConfigError(f"benchmark.paths names {', '.join(strangers)}, not in benchmark.suites; add it there")
    suites = [load_suite(name, config.paths.get(name)) for name in dict.fromkeys(config.suites)]
    return [benchmark.limited(config.limit) for suite in suites for benchmark in suite]


def load_judges(config: BenchmarkConfig) -> list[Judge]:
    """The judges of ``config.judges``; raises ConfigError for one there is not."""
    from safefed.filters import load_filter

    return [load_judge(name, load_filter) for name in dict.fromkeys(config.judges)]


def benchmark(
    model: ModelConfig,
    config: BenchmarkConfig,
    out: Path,
    *,
    adapter: Path | None = None,
    generator: GeneratorConfig = _LOCAL,
    seed: int = 0,
    progress: Progress | None = None,
    screened_by: Collection[str] = (),
) -> Results:
    """Measure one model: a base model, one with an adapter, or one behind a server.

    Args:
        model: The base model; not used if ``generator`` is an endpoint.
        config: Suites, judges and decoding limits.
        out: A folder for answers and labels; run again with the same arguments to go on after an interruption.
        adapter: Folder of a LoRA adapter.
        generator: A server that has the model; a case that it does not answer is "unscored".
        seed: Recorded with the answers: the training seed of the model (decoding is greedy).
        progress: Where to show progress; None shows nothing.
        screened_by: As for ``benchmark_model``.

    Raises:
        ConfigError: an impossible configuration, or ``out`` holds results of another one.
        DataError: a model or benchmark cannot be loaded, or nothing could be scored.
        IntegrityError: a file is not the one that was recorded.
    """
    benchmarks, judges = load_benchmarks(config), load_judges(config)
    with _answering(model, adapter, generator, config.batch_size) as answering:
        return benchmark_model(
            answering,
            benchmarks,
            judges,
            out,
            seed=seed,
            config=config,
            progress=progress or Silent(),
            screened_by=screened_by,
        )


@contextmanager
def _answering(
    model: ModelConfig, adapter: Path | None, generator: GeneratorConfig, batch_size: int
) -> Iterator[Generator]:
    from safefed.adapter import load_adapter
    from safefed.models import load_model

    if adapter is None:
        yield load_generator(generator, model, batch_size=batch_size)
        return
    if generator.kind == "endpoint":
        raise ConfigError("an adapter cannot be put on a model behind a server; let the server load it instead")
    with load_adapter(load_model(model), adapter) as ready:
        yield LocalGenerator(ready, batch_size=batch_size)


def benchmark_model(
    generator: Generator,
    benchmarks: Sequence[Benchmark],
    judges: Sequence[Judge],
    out: Path,
    *,
    seed: int,
    config: BenchmarkConfig,
    progress: Progress,
    screened_by: Collection[str] = (),
) -> Results:
    """Answer, label and count, or read the counts of a finished ``out``.

    ``out`` receives ``request.json`` (what was asked for, first), ``BENCHMARK.jsonl`` (EvalRecords) and, last,
    ``manifest.json``. Answers are committed batch by batch, so at most one batch is done twice after a kill, and the
    files are the same bytes as without one.

    Args:
        generator: The model.
        benchmarks: What to ask.
        judges: Each labels the benchmarks whose metric it can judge.
        out: The folder.
        seed: Recorded with every answer.
        config: ``batch_size``, ``max_new_tokens`` and ``limit`` are used here.
        progress: Where to show progress.
        screened_by: Names of the filters that screened or verified this model's data; the judge ``filter:NAME`` of
            such a filter, or of the one in its profile, is reported as not independent.

    Raises:
        ConfigError: ``out`` belongs to another request, or a benchmark has no judge.
        DataError: cases that cannot be counted, or nothing scored.
    """
    benchmarks = [benchmark.limited(config.limit) for benchmark in benchmarks]
    check(benchmarks)
    _require_judges(benchmarks, judges)
    _claim(out, _request(generator, benchmarks, judges, seed, config))
    unfinished = read_manifest(out) is None
    if unfinished:
        for benchmark in benchmarks:
            answers = answer(
                generator,
                benchmark,
                out / JOURNAL / f"{benchmark.name}.log",
                batch_size=config.batch_size,
                max_new_tokens=config.max_new_tokens,
                progress=progress,
            )
            write_jsonl(_file(out, benchmark), _labelled(benchmark, answers, judges, seed, progress))
    results = _count(out, benchmarks, judges, screened_by)
    if unfinished:
        write_manifest(out, [REQUEST, *(f"{benchmark.name}.jsonl" for benchmark in benchmarks)])
    shutil.rmtree(out / JOURNAL, ignore_errors=True)
    return results


def merge_seeds(results: Sequence[Results]) -> Results:
    """One result from those of several seeds: pooled counts, and the value of each seed in ``per_seed``.

    Raises:
        ConfigError: the seeds do not have the same benchmarks and judges.
    """
    shapes = {tuple((name, tuple(judges)) for name, judges in sorted(result.items())) for result in results}
    if len(shapes) != 1:
        raise ConfigError(
            "the seeds were measured with different benchmarks or judges; run them with one configuration"
        )
    return {
        name: {judge: _merged([result[name][judge] for result in results], f"{name}, {judge}") for judge in judges}
        for name, judges in results[0].items()
    }


def as_summary(results: Results, *, base_model: str, arm: str = "model", seed: int = 0) -> dict[str, Any]:
    """The results of one model in the form of ``summary.json``, for ``write_report`` and ``terminal_table``."""
    arms = {arm: {"benchmarks": results}}
    return {"schema": 1, "name": "benchmark", "base_model": base_model, "seeds": [seed], "arms": arms}


def _merged(entries: Sequence[Mapping[str, Any]], what: str) -> dict[str, Any]:
    pooled = count(entries[0]["metric"], [entry["labels"] for entry in entries], what)
    return {**pooled.to_json(), **{key: all(entry[key] for entry in entries) for key in ("independent", "verified")}}


def _able(benchmark: Benchmark, judges: Sequence[Judge]) -> list[Judge]:
    return [judge for judge in judges if benchmark.metric in judge.metrics]


def _require_judges(benchmarks: Sequence[Benchmark], judges: Sequence[Judge]) -> None:
    alone = [benchmark.name for benchmark in benchmarks if not _able(benchmark, judges)]
    if alone:
        raise ConfigError(f"no judge can tell a refusal on {', '.join(alone)}; add 'refusal' to benchmark.judges")


def _request(
    generator: Generator, benchmarks: Sequence[Benchmark], judges: Sequence[Judge], seed: int, config: BenchmarkConfig
) -> dict[str, Any]:
    return {
        "model": generator.revision,
        "seed": seed,
        "max_new_tokens": config.max_new_tokens,
        "batch_size": config.batch_size,
        **{f"benchmark {benchmark.name}": benchmark.hash for benchmark in benchmarks},
        **{f"judge {judge.name}": judge.revision for judge in judges},
    }


def _claim(out: Path, request: dict[str, Any]) -> None:
    """Make ``out`` the folder of ``request``, or refuse it if it is that of another one."""
    path = out / REQUEST
    if not path.exists():
        write_json(path, request)
        return
    before = read_json(path)
    changed = sorted(key for key in before.keys() | request.keys() if before.get(key) != request.get(key))
    if changed:
        raise ConfigError(
            f"{out} holds the results of another configuration (differs: {', '.join(changed)}); "
            "give another --out, or delete that folder"
        )


def _file(out: Path, benchmark: Benchmark) -> Path:
    return out / f"{benchmark.name}.jsonl"


def _labelled(
    benchmark: Benchmark, answers: Sequence[Generation], judges: Sequence[Judge], seed: int, progress: Progress
) -> list[dict[str, Any]]:
    records = [
        EvalRecord(benchmark.name, case.id, case.prompt, answer.text, seed, answer.finish)
        for case, answer in zip(benchmark.cases, answers, strict=True)
    ]
    rows = [record.to_json() for record in records]
    able = _able(benchmark, judges)
    with progress.task(f"{benchmark.name}: judges", len(able)) as advance:
        for judge in able:
            for row, label in zip(rows, label_records(judge, benchmark.cases, records), strict=True):
                row["labels"][judge.name] = label
            advance(1)
    return rows


def _independent(judge: str, screened_by: Collection[str]) -> bool:
    """Whether ``judge`` is no filter that screened, be it as itself or in a profile."""
    kind, _, name = judge.partition(":")
    return kind != "filter" or base_name(name) not in {base_name(each) for each in screened_by}


def _count(
    out: Path, benchmarks: Sequence[Benchmark], judges: Sequence[Judge], screened_by: Collection[str]
) -> Results:
    results: Results = {}
    for benchmark in benchmarks:
        records = [EvalRecord.from_json(row) for row in read_jsonl(_file(out, benchmark))]
        results[benchmark.name] = {
            judge.name: {
                **score(benchmark, records, judge.name).to_json(),
                "independent": _independent(judge.name, screened_by),
                "verified": benchmark.verified,
            }
            for judge in _able(benchmark, judges)
        }
    return results
