"""``safefed calibrate``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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


def calibrate(
    source: Input,
    out: Annotated[
        Path, typer.Option("--out", metavar="PROFILE.json", help="Where the profile goes; a page beside it.")
    ],
    screen: Annotated[str, typer.Option("--filter", metavar="NAME", help="As in preprocess.")] = "linear",
    fpr: Annotated[
        float | None, typer.Option(metavar="RATE", help="Share of safe rows that may be flagged. Default: 0.05.")
    ] = None,
    recall: Annotated[
        float | None, typer.Option(metavar="RATE", help="Instead: share of unsafe rows that is to be flagged.")
    ] = None,
    method: Annotated[
        Literal["auto", "platt", "isotonic"],
        typer.Option(help="auto: isotonic from 1,000 rows on with 100 of each kind, else platt."),
    ] = "auto",
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
    """Fit a filter's probabilities and threshold to your own labelled rows (50 help), as a profile to screen with."""
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
    with working() as progress:
        from safefed.calibrating import calibrate as make_profile
        from safefed.sources import describe

        note(describe(rows).why)
        result = make_profile(rows, out, filter=screen, method=method, fpr=fpr, recall=recall, progress=progress)
    for warning in result["warnings"]:
        note(f"warning: {warning}")
    if as_json:
        print_json(result)
        return
    print_table(_table(result))
    typer.echo(f"profile: {out}  page: {result['page']}")
    typer.echo(f"screen with it: safefed preprocess INPUT --out DIR --filter profile:{out}")


def _table(result: Mapping[str, Any]) -> Table:
    from rich.table import Table

    from safefed.eval.calibration_page import comparison

    left_out = result["rows"]["n_in"] - result["rows"]["labelled"]
    title = f"{result['filter']}: {result['n']} labelled rows, {100 * result['unsafe_share']:.0f} % unsafe"
    table = Table("", "before", "after", title=title + (f" ({left_out} others left out)" if left_out else ""))
    for row in comparison(result["before"], result["after"]):
        table.add_row(*row)
    table.caption = (
        f"{result['calibration']['method']}, threshold {result['threshold']:.4f}; after = held-out rows; "
        "in brackets 95 %"
    )
    return table
