"""``safefed report-data``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report_data(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A data set that safefed preprocess made.")],
    compare: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="The same rows screened by another filter, to compare with. Repeatable."),
    ] = None,
    show_text: Annotated[
        bool, typer.Option("--show-text", help="Show what the example rows say. For this machine only.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The page; else DIR/report.html, or DIR/report-with-text.html."),
    ] = None,
) -> None:
    """Write a page on what a screen made of a data set: counts, scores, examples by id, agreement between filters."""
    from safefed.cli.output import working

    with working() as progress:
        from safefed.data_report import write_data_report

        path = write_data_report(folder, out, compare=compare or (), show_text=show_text, progress=progress)
    typer.echo(f"report: {path}")
