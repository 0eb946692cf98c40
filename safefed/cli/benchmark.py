"""``safefed benchmark``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safefed.cli.options import (
    ApiKeyEnv,
    Concurrency,
    Endpoint,
    Json,
    Threads,
    generator_config,
    names,
    pairs,
    use_threads,
)

if TYPE_CHECKING:
    from rich.table import Table


def benchmark(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="tiny, a folder, a hub id, or the name at --endpoint.")],
    suites: Annotated[
        list[str] | None,
        typer.Option("--suite", metavar="NAME,…", help="advbench, xstest, mini, contrasts. Default: mini."),
    ] = None,
    adapter: Annotated[Path | None, typer.Option(metavar="DIR", help="A peft adapter on top of MODEL.")] = None,
    judges: Annotated[
        list[str] | None,
        typer.Option("--judge", metavar="NAME,…", help="refusal, refusal-anywhere, filter:NAME. Default: all three."),
    ] = None,
    paths: Annotated[
        list[str] | None, typer.Option("--path", metavar="NAME=FILE", help="Where a benchmark's file is. Repeatable.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the answers and labels go.")] = Path(
        "runs/benchmark"
    ),
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many cases each, evenly spaced.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Where an answer is cut.")] = 64,
    endpoint: Endpoint = None,
    api_key_env: ApiKeyEnv = None,
    concurrency: Concurrency = 8,
    threads: Threads = 1,
    as_json: Json = False,
) -> None:
    """Put a model through safety benchmarks: safe rate and over-refusal, with 95 % intervals."""
    from safefed.cli.output import print_json, print_table, working
    from safefed.config import BenchmarkConfig, ModelConfig, parse

    tree: dict[str, Any] = {"paths": pairs(paths, "--path"), "limit": limit, "max_new_tokens": max_new_tokens}
    tree |= {key: value for key, value in {"suites": names(suites), "judges": names(judges)}.items() if value}
    config = parse(BenchmarkConfig, tree, "the command line")
    generator = generator_config(endpoint, model, api_key_env, concurrency)
    use_threads(threads)
    with working() as progress:
        from safefed.benchmarking import benchmark as run_benchmarks

        base = ModelConfig() if endpoint else ModelConfig(name=model)
        result = run_benchmarks(base, config, out, adapter=adapter, generator=generator, seed=0, progress=progress)
    if as_json:
        print_json(result)
        return
    print_table(_table(result))
    typer.echo(f"answers: {out}")


def _table(results: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Table:
    from rich.table import Table

    table = Table("benchmark", "metric", "judge", "%", "95 % interval", "cases", "unscored", "degenerate")
    for name, judged in results.items():
        for judge, metric in judged.items():
            low, high = metric["ci95"]
            share, interval = f"{100 * metric['value']:.1f}", f"{100 * low:.1f} to {100 * high:.1f}"
            counts = (metric["n"], metric["n_unscored"], metric["labels"]["degenerate"])
            table.add_row(name, metric["metric"], judge, share, interval, *map(str, counts))
    return table
