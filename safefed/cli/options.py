"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from safefed.errors import ConfigError

if TYPE_CHECKING:
    from safefed.config import ExperimentConfig, GeneratorConfig, SourceConfig

Experiment = Annotated[
    Path | None, typer.Argument(metavar="[EXPERIMENT.toml]", help="The experiment; without it, the embedded default.")
]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Run folder; runs/NAME by default.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one key, e.g. train.rounds=5. Repeatable."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")]
Threads = Annotated[
    int, typer.Option(min=1, envvar="OMP_NUM_THREADS", help="Torch threads; more than one pays for large models only.")
]
Workers = Annotated[
    str,
    typer.Option(metavar="N|auto", help="Processes that score rows; 1 = in this one, auto = all CPUs."),
]
COLUMNS = "Columns"
Input = Annotated[
    str, typer.Argument(metavar="INPUT", help="JSONL, JSON, CSV or Parquet; the first three plain or .gz.")
]
RowFormat = Annotated[
    Literal["alpaca", "dolly", "messages", "sharegpt", "prompt-completion", "preference", "hh", "columns"] | None,
    typer.Option("--format", rich_help_panel=COLUMNS, help="Row format; else detected."),
]
Prompt = Annotated[str | None, typer.Option(metavar="COL", rich_help_panel=COLUMNS, help="Column of the request.")]
Response = Annotated[str | None, typer.Option(metavar="COL", rich_help_panel=COLUMNS, help="Column of the answer.")]
Label = Annotated[str | None, typer.Option(metavar="COL", rich_help_panel=COLUMNS, help="Column of the unsafe label.")]
UnsafeValues = Annotated[
    list[str] | None,
    typer.Option(
        "--unsafe-value",
        metavar="VALUE",
        rich_help_panel=COLUMNS,
        help="Value of the label that means unsafe. Repeatable; else 1, true, unsafe, harmful.",
    ),
]
Join = Annotated[
    str | None,
    typer.Option(metavar="FILE", rich_help_panel=COLUMNS, help="Table that --join-key holds indices into."),
]
JoinKey = Annotated[
    str | None, typer.Option(metavar="COL", rich_help_panel=COLUMNS, help="Column of INPUT to be replaced.")
]
JoinColumn = Annotated[
    str | None, typer.Option(metavar="COL", rich_help_panel=COLUMNS, help="Column of FILE to take instead.")
]
JoinOn = Annotated[
    str | None,
    typer.Option(metavar="COL", rich_help_panel=COLUMNS, help="Column of FILE to look up; else its row number."),
]
Where = Annotated[
    list[str] | None,
    typer.Option(metavar="COL=VALUE", rich_help_panel=COLUMNS, help="Only rows with this value. Repeatable."),
]
Bucket = Annotated[
    str | None,
    typer.Option(metavar="I/N", rich_help_panel=COLUMNS, help="Only prompts in bucket I of N, e.g. 0/2 or 0,1/4."),
]
Limit = Annotated[int | None, typer.Option(min=1, rich_help_panel=COLUMNS, help="Only the first rows.")]
SERVER = "A model behind a server"
Endpoint = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="URL",
        rich_help_panel=SERVER,
        help="OpenAI-compatible server that has the model, e.g. http://localhost:8000/v1; text is SENT there.",
    ),
]
ApiKeyEnv = Annotated[
    str | None,
    typer.Option(metavar="VARIABLE", rich_help_panel=SERVER, help="Environment variable with the server's key."),
]
Concurrency = Annotated[int, typer.Option(min=1, rich_help_panel=SERVER, help="Requests on their way at once.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout, and nothing else there.")]


def examples(*lines: str) -> str:
    """An epilog that shows ``lines`` as they are typed."""
    return "\n\n".join(["[bold]Examples[/bold]", *(f"$ {line}" for line in lines)])


def pairs(assignments: list[str] | None, option: str) -> dict[str, str]:
    """``["a=b"]`` as ``{"a": "b"}``. Raises ConfigError when one has no '='."""
    table: dict[str, str] = {}
    for assignment in assignments or []:
        key, separator, value = assignment.partition("=")
        if not separator or not key:
            raise ConfigError(f"{option} {assignment!r} has no '='; write {option} NAME=VALUE")
        table[key] = value
    return table


def source_config(
    path: str,
    *,
    row_format: str | None,
    prompt: str | None,
    response: str | None,
    label: str | None,
    unsafe_values: list[str] | None,
    join: tuple[str | None, str | None, str | None, str | None],
    where: list[str] | None,
    bucket: str | None,
    limit: int | None,
) -> SourceConfig:
    """The column options of a command as one source; ``join`` = (file, key, column, on).

    Raises:
        ConfigError: an option is malformed, or does not go with another.
    """
    from safefed.config import SourceConfig, parse

    tree: dict[str, Any] = {"path": path, "format": row_format, "prompt": prompt, "response": response, "label": label}
    tree |= {"where": pairs(where, "--where"), "bucket": _bucket(bucket), "limit": limit, "join": _join(*join)}
    tree |= {"unsafe_values": unsafe_values} if unsafe_values else {}
    return parse(SourceConfig, tree, "the command line")


def generator_config(endpoint: str | None, model: str, api_key_env: str | None, concurrency: int) -> GeneratorConfig:
    """Where a command's model is: behind ``endpoint``, which knows it as ``model``, or here.

    Raises:
        ConfigError: an option is malformed, or does not go with another.
    """
    from safefed.config import GeneratorConfig, parse

    if endpoint is None and api_key_env is None:
        return GeneratorConfig()
    if endpoint is None or model == "tiny":
        raise ConfigError("a model behind a server needs both: --endpoint URL, and the model's name there")
    tree = {"url": endpoint, "model": model, "api_key_env": api_key_env, "concurrency": concurrency}
    return parse(GeneratorConfig, {"kind": "endpoint", **tree}, "the command line")


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


def use_threads(threads: int) -> None:
    """Set the thread count of the numeric libraries; to be called before torch is imported."""
    os.environ["OMP_NUM_THREADS"] = str(threads)


def worker_count(text: str) -> int:
    """``--workers`` as a number; "auto" is the CPUs this process may use. Raises ConfigError."""
    if text != "auto" and not (text.isdecimal() and int(text) > 0):
        raise ConfigError(f"--workers {text!r} is neither a number from 1 on nor auto; write --workers 2")
    return len(os.sched_getaffinity(0)) if text == "auto" else int(text)


def names(values: list[str] | None) -> list[str]:
    """Comma-separated and repeated values as one list."""
    return [name.strip() for value in values or [] for name in value.split(",") if name.strip()]


def run_folder(out: Path | None, config: ExperimentConfig) -> Path:
    """Where a run goes."""
    return out or Path("runs") / config.name
