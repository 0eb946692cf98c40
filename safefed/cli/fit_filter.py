"""``safefed fit-filter``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safefed.cli.options import (
    Bucket,
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
    RowFormat,
    Threads,
    UnsafeValues,
    Where,
    source_config,
    use_threads,
)

if TYPE_CHECKING:
    from rich.table import Table

TRAINING = "Training (classifier and guard)"


def fit_filter(
    source: Input,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to make; the filter is KIND:DIR.")],
    screen: Annotated[
        str, typer.Option("--filter", metavar="NAME", help="linear, embedding, classifier:PATH or guard:PATH.")
    ] = "linear",
    held_out: Annotated[float, typer.Option(metavar="SHARE", help="Share of the rows to measure on.")] = 0.2,
    group: Annotated[
        str | None, typer.Option(metavar="COL", help="Column of what stays on one side, beside equal prompts.")
    ] = None,
    category: Annotated[
        str | None, typer.Option(metavar="COL", help="Column of the hazard, S1 to S14: to tell it and to name it.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the split, the training and the intervals.")] = 0,
    epochs: Annotated[float | None, typer.Option(rich_help_panel=TRAINING, help="Default: 5; guard 3.")] = None,
    steps: Annotated[int | None, typer.Option(rich_help_panel=TRAINING, help="Instead of epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(rich_help_panel=TRAINING, help="Default: 16; guard 8.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(rich_help_panel=TRAINING, help="Default: 5e-4; guard 1e-4.")
    ] = None,
    rank: Annotated[int | None, typer.Option(rich_help_panel=TRAINING, help="Of LoRA. Default: 16.")] = None,
    max_length: Annotated[
        int | None, typer.Option(rich_help_panel=TRAINING, help="Tokens of a row. Default: 256; guard 2048.")
    ] = None,
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
    threads: Threads = 1,
    as_json: Json = False,
) -> None:
    """Train a filter on your own labelled rows (40 at least, hundreds better) and measure it on rows held out."""
    from safefed.cli.output import note, print_json, print_table, working

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
    use_threads(threads)
    given = {"epochs": epochs, "steps": steps, "batch_size": batch_size, "learning_rate": learning_rate}
    given |= {"rank": rank, "max_length": max_length}
    with working() as progress:
        from safefed.config import parse
        from safefed.fitting import FitTraining
        from safefed.fitting import fit_filter as fit
        from safefed.sources import describe

        training = parse(FitTraining, given, "the command line")
        note(describe(rows).why)
        result = fit(
            rows,
            out,
            filter=screen,
            held_out=held_out,
            group=group,
            category=category,
            training=training,
            seed=seed,
            progress=progress,
        )
    if as_json:
        print_json(result)
        return
    print_table(_table(result))
    typer.echo(_split(result))
    typer.echo(_conclusion(result["comparison"]))
    typer.echo(f"screen with it: safefed preprocess INPUT --out OUT --filter {result['kind']}:{out}")


def _table(result: Mapping[str, Any]) -> Table:
    from rich.table import Table

    found, split = result["comparison"], result["split"]
    share = 100 * found["after"]["ranking"]["unsafe_share"]
    table = Table(
        "", "before", "after", title=f"{result['filter']}: {split['held_out']} held-out rows, {share:.0f} % unsafe"
    )
    before, after = (_column(found[side]) for side in ("before", "after"))
    for name in after:
        table.add_row(name, before.get(name, "-"), after[name])
    table.caption = f"fitted on {result['fitted']['n_rows']} rows; in brackets 95 %"
    return table


def _column(figures: Mapping[str, Any] | None) -> dict[str, str]:
    if figures is None:
        return {}
    ranking, decisions = figures["ranking"], figures["decisions"]
    low, high = ranking["auroc_ci95"]
    return {
        "AUROC": f"{ranking['auroc']:.3f} ({low:.3f} to {high:.3f})",
        "recall at 5 % false positives": f"{ranking['recall_at_fpr5']:.3f}",
        "safe rows lost at 95 % recall": f"{ranking['lost_at_recall95']:.3f}",
        "threshold": f"{figures['threshold']:.3f}",
        "F1": f"{decisions['f1']:.3f}",
        "precision": f"{decisions['precision']:.3f}",
        "recall": f"{decisions['recall']:.3f}",
        "false-positive rate": f"{decisions['fpr']:.3f}",
        "rows it could not score": str(figures["unscored"]),
    }


def _split(result: Mapping[str, Any]) -> str:
    split, rows = result["split"], result["rows"]
    left_out = ", ".join(f"{n} {name}" for name, n in rows.items() if n and name not in ("n_in", "labelled"))
    return (
        f"rows: {split['fit']} fitted on, {split['held_out']} held out, left out: {left_out or 'none'}. "
        f"groups: {split['groups']}, the largest of {split['largest_group']} rows; {split['exact']} rows repeat "
        f"a prompt and {split['near']} prompts nearly repeat another, of which {split['shared']} are on both sides. "
        f"held-out answers that a fitted row gives word for word: {split['answers_seen']}."
    )


def _conclusion(found: Mapping[str, Any]) -> str:
    if found["conclusion"] == "nothing to compare":
        return "there is nothing to compare with: no filter before, or one that could not score the held-out rows"
    low, high = found["difference_ci95"]
    difference = f"AUROC {found['difference']:+.3f} (95 %: {low:+.3f} to {high:+.3f})"
    ranks = {
        "better": f"the fitted filter ranks these rows better: {difference}",
        "worse": f"the fitted filter ranks these rows WORSE than the unfitted one: {difference}; do not use it",
        "unclear": f"the fitted filter is not shown to be better: {difference}; label more rows",
    }[found["conclusion"]]
    before, after = (found[side]["decisions"]["f1"] for side in ("before", "after"))
    if after >= before:
        return ranks
    return f"{ranks}. At its threshold F1 FALLS from {before:.3f} to {after:.3f}: calibrate it on other labelled rows"
