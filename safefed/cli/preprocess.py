"""``safefed preprocess``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from safefed.cli.options import Json, Threads, pairs, use_threads
from safefed.errors import ConfigError

COLUMNS = "Columns"
SCREEN = "Screen and revise"
Action = Literal["revise", "drop", "oracle", "keep"]
Fallback = Literal["refuse", "drop"]
RowFormat = Literal["alpaca", "dolly", "messages", "sharegpt", "prompt-completion", "preference", "hh", "columns"]
AXES = ("prompt", "response")
OUTCOMES = ("n_in", "kept", "revised", "dropped", "errored")


def preprocess(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="JSONL, JSON or CSV, plain or .gz.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the dataset goes.")],
    row_format: Annotated[
        RowFormat | None, typer.Option("--format", rich_help_panel=COLUMNS, help="Row format; else detected.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="COL", rich_help_panel=COLUMNS, help="Column of the request.")
    ] = None,
    response: Annotated[
        str | None, typer.Option(metavar="COL", rich_help_panel=COLUMNS, help="Column of the answer.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="COL", rich_help_panel=COLUMNS, help="Column of the unsafe label.")
    ] = None,
    join: Annotated[
        str | None,
        typer.Option(metavar="FILE", rich_help_panel=COLUMNS, help="Table that --join-key holds indices into."),
    ] = None,
    join_key: Annotated[
        str | None, typer.Option(metavar="COL", rich_help_panel=COLUMNS, help="Column of INPUT to be replaced.")
    ] = None,
    join_column: Annotated[
        str | None, typer.Option(metavar="COL", rich_help_panel=COLUMNS, help="Column of FILE to take instead.")
    ] = None,
    join_on: Annotated[
        str | None,
        typer.Option(metavar="COL", rich_help_panel=COLUMNS, help="Column of FILE to look up; else its row number."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="COL=VALUE", rich_help_panel=COLUMNS, help="Only rows with this value. Repeatable."),
    ] = None,
    bucket: Annotated[
        str | None,
        typer.Option(metavar="I/N", rich_help_panel=COLUMNS, help="Only prompts in bucket I of N, e.g. 0/2 or 0,1/4."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, rich_help_panel=COLUMNS, help="Only the first rows.")] = None,
    action: Annotated[
        Action,
        typer.Option(
            rich_help_panel=SCREEN,
            help="Revise or drop unsafe rows; oracle: drop by the rows' own labels; keep: screen nothing.",
        ),
    ] = "revise",
    screen: Annotated[
        str,
        typer.Option(
            "--filter", metavar="NAME", rich_help_panel=SCREEN, help="linear, detoxify, detoxify:PATH, guard:PATH."
        ),
    ] = "linear",
    threshold: Annotated[
        float | None,
        typer.Option(rich_help_panel=SCREEN, help="Probability from which a row is unsafe; else the filter's own."),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=FATE",
            rich_help_panel=SCREEN,
            help="Keep, revise or drop what is flagged for S1 … S14, prompt or response, e.g. S4=drop. Repeatable.",
        ),
    ] = None,
    constitution: Annotated[
        str, typer.Option(metavar="NAME|FILE", rich_help_panel=SCREEN, help="Principles to revise by.")
    ] = "default",
    attempts: Annotated[int, typer.Option(rich_help_panel=SCREEN, help="Revisions tried for one row.")] = 3,
    fallback: Annotated[
        Fallback, typer.Option(rich_help_panel=SCREEN, help="When all attempts fail: answer with a refusal, or drop.")
    ] = "refuse",
    model: Annotated[
        str, typer.Option(metavar="NAME|DIR", rich_help_panel=SCREEN, help="Model that critiques and revises.")
    ] = "tiny",
    threads: Threads = 1,
    as_json: Json = False,
) -> None:
    """Screen a data set, revise what is unsafe under a constitution, and write a data set to train on."""
    from safefed.cli.output import note, print_json, working
    from safefed.config import ModelConfig, ReviseConfig, ScreenConfig, SourceConfig, parse

    where_from = "the command line"
    tree: dict[str, Any] = {
        "path": source,
        "format": row_format,
        "prompt": prompt,
        "response": response,
        "label": label,
    }
    tree |= {"where": pairs(where, "--where"), "bucket": _bucket(bucket), "limit": limit}
    tree["join"] = _join(join, join_key, join_column, join_on)
    rows = parse(SourceConfig, tree, where_from)
    rules = {"filter": screen, "threshold": threshold, "policy": _policy(policy, action)}
    screening = parse(ScreenConfig, rules, where_from)
    revising = parse(
        ReviseConfig, {"constitution": constitution, "attempts": attempts, "fallback": fallback}, where_from
    )
    use_threads(threads)
    with working() as progress:
        from safefed.data_report import REPORT, write_data_report
        from safefed.preprocessing import preprocess as preprocess_rows
        from safefed.sources import describe
        from safefed.stopwatch import Stopwatch

        note(describe(rows).why)
        watch = Stopwatch()
        with watch.stage("start and finish"):
            manifest = preprocess_rows(
                rows,
                out,
                action=action,
                screen=screening,
                revise=revising,
                model=ModelConfig(name=model),
                progress=progress,
                watch=watch,
            )
        if watch.rows or not (out / REPORT).exists():
            write_data_report(out, watch=watch, progress=progress)
    if as_json:
        print_json(manifest)
        return
    typer.echo("  ".join(f"{name} {manifest[name]}" for name in OUTCOMES))
    typer.echo(f"data set: {out}")
    typer.echo(f"report: {out / REPORT}")


def _policy(rules: list[str] | None, action: Action) -> dict[str, dict[str, str]]:
    if rules and action in ("oracle", "keep"):
        raise ConfigError(
            f"--policy is for what a filter flags, and --action {action} uses none; choose revise or drop"
        )
    by_kind = pairs(rules, "--policy")
    return {
        "category": {kind: fate for kind, fate in by_kind.items() if kind not in AXES},
        "axis": {kind: fate for kind, fate in by_kind.items() if kind in AXES},
    }


def _join(file: str | None, key: str | None, column: str | None, on: str | None) -> dict[str, Any] | None:
    if file is None and key is None and column is None and on is None:
        return None
    if file is None or key is None or column is None:
        raise ConfigError("a join needs all of --join FILE --join-key COL --join-column COL")
    return {"file": file, "key": key, "column": column, "on": on}


def _bucket(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    keep, _, of = text.partition("/")
    try:
        return {"of": int(of), "keep": [int(part) for part in keep.split(",")]}
    except ValueError:
        raise ConfigError(f"--bucket {text!r} is not I/N; write --bucket 0/2") from None
