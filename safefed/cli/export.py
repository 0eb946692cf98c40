"""``safefed export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from safefed.cli.options import Json


def export(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A data set that safefed preprocess made, or a run's align folder.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="OUT", help="A new folder; the data go to OUT/sft, OUT/dpo.")],
    kind: Annotated[
        Literal["sft", "dpo", "both"], typer.Option(help="Conversations, preferences, or both as far as there are any.")
    ] = "both",
    originals: Annotated[
        bool,
        typer.Option("--with-originals/--without-originals", help="Whether flagged answers may stand as rejected."),
    ] = True,
    as_json: Json = False,
) -> None:
    """Write a data set in TRL's formats, with a data card, for trl sft, trl dpo and datasets.load_dataset."""
    from safefed.cli.output import print_json, working

    with working():
        from safefed.exporting import export as export_data

        manifest = export_data(folder, out, kind=kind, originals=originals)
    if as_json:
        print_json(manifest)
        return
    for name, n in manifest["kinds"].items():
        typer.echo(f"{name}: {n} rows: trl {name} --dataset_name {out / name} --model_name_or_path MODEL")
    if missing := manifest["without_answer"]:
        typer.echo(f"{missing} rows without an answer were left out")
    typer.echo(f"fill in licence and name: {', '.join(str(out / name / 'README.md') for name in manifest['kinds'])}")
