"""``safefed preprocess``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from safefed.cli.options import (
    ApiKeyEnv,
    Bucket,
    Concurrency,
    Endpoint,
    Input,
    Join,
    JoinColumn,
    JoinKey,
    JoinOn,
    Json,
    Label,
    Limit,
    Prompt,
    Response,
    Resume,
    RowFormat,
    Threads,
    UnsafeValues,
    Where,
    Workers,
    generator_config,
    pairs,
    source_config,
    use_threads,
    worker_count,
)
from safefed.errors import ConfigError

SCREEN = "Screen and revise"
Action = Literal["revise", "drop", "oracle", "keep"]
Fallback = Literal["refuse", "drop"]
AXES = ("prompt", "response")
OUTCOMES = ("n_in", "kept", "revised", "dropped", "errored")


def preprocess(
    source: Input,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the dataset goes.")],
    row_format: RowFormat = None,
    prompt: Prompt = None,
    response: Response = None,
    label: Label = None,
    unsafe_values: UnsafeValues = None,
    join: Join = None,
    join_key: JoinKey = None,
    join_column: JoinColumn = None,
    join_on: JoinOn = None,
    where: Where = None,
    bucket: Bucket = None,
    limit: Limit = None,
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
            "--filter",
            metavar="NAME",
            rich_help_panel=SCREEN,
            help="linear, classifier:MODEL, detoxify, guard:MODEL or profile:FILE.json; see docs/filters.md.",
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
        str,
        typer.Option(
            metavar="NAME|FILE",
            rich_help_panel=SCREEN,
            help="Principles to revise by: default, minimal, helpful-first or a file.",
        ),
    ] = "default",
    attempts: Annotated[int, typer.Option(rich_help_panel=SCREEN, help="Revisions tried for one row.")] = 3,
    rounds: Annotated[
        int, typer.Option(rich_help_panel=SCREEN, help="Rounds in an attempt, each on the text of the last.")
    ] = 1,
    seed: Annotated[int, typer.Option(rich_help_panel=SCREEN, help="Of the choice among principles.")] = 0,
    fallback: Annotated[
        Fallback, typer.Option(rich_help_panel=SCREEN, help="When all attempts fail: answer with a refusal, or drop.")
    ] = "refuse",
    originals: Annotated[
        bool,
        typer.Option(
            "--originals/--no-originals",
            rich_help_panel=SCREEN,
            help="Whether flagged answers may be written: in pairs, critiques and quarantine.",
        ),
    ] = True,
    model: Annotated[
        str, typer.Option(metavar="NAME|DIR", rich_help_panel=SCREEN, help="Model that critiques and revises.")
    ] = "tiny",
    endpoint: Endpoint = None,
    api_key_env: ApiKeyEnv = None,
    concurrency: Concurrency = 8,
    workers: Workers = "1",
    threads: Threads = 1,
    resume: Resume = False,
    as_json: Json = False,
) -> None:
    """Screen a data set, revise what is unsafe under a constitution, and write a data set to train on.

    It can be stopped or killed at any moment: with --resume it goes on where it was.
    """
    from safefed.cli.output import note, print_json, working
    from safefed.config import ModelConfig, ReviseConfig, ScreenConfig, parse

    where_from = "the command line"
    rows = source_config(
        source,
        row_format=row_format,
        prompt=prompt,
        response=response,
        label=label,
        unsafe_values=unsafe_values,
        join=(join, join_key, join_column, join_on),
        where=where,
        bucket=bucket,
        limit=limit,
    )
    rules = {"filter": screen, "threshold": threshold, "policy": _policy(policy, action)}
    screening = parse(ScreenConfig, rules, where_from)
    generator = generator_config(endpoint, model, api_key_env, concurrency)
    how = {"constitution": constitution, "attempts": attempts, "rounds": rounds, "seed": seed, "fallback": fallback}
    how |= {"keep_originals": originals, "generator": generator}
    revising = parse(ReviseConfig, how, where_from)
    processes = worker_count(workers)
    use_threads(threads)
    with working() as progress:
        from safefed.data_report import REPORT, drifted, write_data_report
        from safefed.preprocessing import preprocess as preprocess_rows
        from safefed.sources import describe
        from safefed.stopwatch import Stopwatch

        note(describe(rows).why)
        if action == "revise" and generator.notice:
            note(f"rows to be revised: {generator.notice}")
        watch = Stopwatch()
        with watch.stage("start and finish"):
            manifest = preprocess_rows(
                rows,
                out,
                action=action,
                screen=screening,
                revise=revising,
                model=ModelConfig() if endpoint else ModelConfig(name=model),
                progress=progress,
                workers=processes,
                resume=resume,
                watch=watch,
            )
        if watch.rows or not (out / REPORT).exists():
            write_data_report(out, watch=watch, progress=progress)
    if warning := drifted(manifest):
        note(f"warning: {warning}")
    if failed := (manifest.get("generations") or {}).get("failed"):
        note(f"warning: {failed} request(s) to the revising model got no usable answer")
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
