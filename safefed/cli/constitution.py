"""``safefed constitution check`` and ``safefed constitution show``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safefed.cli.options import Json, examples
from safefed.records import HAZARDS

if TYPE_CHECKING:
    from rich.table import Table

constitution = typer.Typer(
    no_args_is_help=True,
    help="Check a constitution that you wrote, or show one as it is read.",
    epilog=examples("safefed constitution check mine.yaml", "safefed constitution show helpful-first > mine.yaml"),
)

FILE = "default, minimal, helpful-first, or a YAML or JSON file."


@constitution.command(
    epilog=examples("safefed constitution check mine.yaml theirs.json", "safefed constitution check default --json")
)
def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help=FILE)],
    as_json: Json = False,
) -> None:
    """Say what each constitution holds and which hazards it answers, or every problem of all of them at once."""
    from safefed.cli.output import print_json, print_table
    from safefed.constitution import load_constitution
    from safefed.constitution.summary import summary
    from safefed.errors import ConfigError

    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    for file in files:
        try:
            rows.append({"file": file, **summary(load_constitution(file))})
        except ConfigError as error:
            problems.append(str(error))
    if as_json:
        print_json({"constitutions": rows})
    elif rows:
        print_table(_table(rows))
    if problems:
        raise ConfigError("\n".join(problems))


@constitution.command(
    epilog=examples("safefed constitution show minimal", "safefed constitution show theirs.json > mine.yaml")
)
def show(name: Annotated[str, typer.Argument(metavar="NAME", help=FILE)]) -> None:
    """Print a constitution as YAML, with all that it extends in it, to read or to start one's own from."""
    from safefed.constitution import load_constitution
    from safefed.constitution.summary import as_yaml

    typer.echo(as_yaml(load_constitution(name)), nl=False)


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    """One column per file, since terminals are narrow and people check one or two."""
    from rich.table import Table

    table = Table("", *(row["file"] for row in rows))
    for key in ("name", "version", "hash", "principles", "examples", "refusals", "longest question"):
        table.add_row(key, *(str(_shown(row)[key]) or "-" for row in rows))
    table.add_row("hazards with a principle of their own", *(_hazards(row["specific"]) for row in rows))
    table.add_row("hazards with a general one only", *(_hazards(row["general_only"]) for row in rows))
    return table


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "hash": row["revision"][:12], "longest question": f"{row['longest_question']:,} characters"}


def _hazards(hazards: Sequence[str]) -> str:
    return "all" if len(hazards) == len(HAZARDS) else " ".join(hazards) or "none"
