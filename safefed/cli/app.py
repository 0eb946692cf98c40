"""The command ``safefed`` and how its failures read."""

from __future__ import annotations

import os
import traceback
from typing import Annotated, Any

import click
import typer
from typer.core import TyperGroup

from safefed import __version__
from safefed.cli.benchmark import benchmark
from safefed.cli.calibrate import calibrate
from safefed.cli.constitution import constitution
from safefed.cli.doctor import doctor
from safefed.cli.experiment import run, train
from safefed.cli.export import export
from safefed.cli.fit_filter import fit_filter
from safefed.cli.options import examples
from safefed.cli.preprocess import preprocess
from safefed.cli.report_data import report_data
from safefed.errors import SafefedError

QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Environment defaults for the libraries underneath; what the user has set stays as it is."""


class Commands(TyperGroup):
    """Runs one command; an error becomes one message on stderr and an exit code, a Ctrl-C says how to go on."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except (SafefedError, OSError) as error:
            if ctx.params.get("debug"):
                traceback.print_exc()
            typer.secho(f"error: {error}", fg="red", err=True)
            raise typer.Exit(getattr(error, "exit_code", 1)) from None
        except KeyboardInterrupt:
            typer.echo(f"\nstopped; run the same command {self._again(ctx)} to go on", err=True)
            raise typer.Exit(130) from None

    def _again(self, ctx: click.Context) -> str:
        command = self.get_command(ctx, ctx.invoked_subcommand or "")
        return "with --resume" if command and any("--resume" in p.opts for p in command.params) else "again"


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog=examples(
        "safefed run",
        "safefed preprocess client.csv --out clean/",
        "safefed calibrate labelled.csv --label unsafe --out hospital.json",
        "safefed train experiment.toml",
        "safefed benchmark tiny --suite mini",
        "safefed doctor",
    ),
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"safefed {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and stop.")
    ] = False,
    debug: Annotated[  # noqa: ARG001
        bool, typer.Option("--debug", envvar="SAFEFED_DEBUG", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """The safety layer for federated LLM fine-tuning: screen, revise, train, align, evaluate."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


app.command(
    epilog=examples("safefed run", "safefed run experiment.toml --set train.rounds=5 --arm fedavg+filter --resume")
)(run)
app.command(
    epilog=examples(
        "safefed preprocess dolly.csv --out clean/",
        "safefed preprocess rows.csv --out clean/ --prompt question --response answer --where split=train",
        "safefed preprocess rows.jsonl --out clean/ --action drop --policy S6=keep --policy prompt=drop",
        "safefed preprocess rows.jsonl --out clean/ --rounds 2 --no-originals",
        "safefed preprocess big.jsonl --out clean/ --action drop --workers auto --resume",
        "safefed preprocess rows.jsonl --out clean/ --endpoint http://localhost:8000/v1 --model NAME --concurrency 64",
        "safefed preprocess train.csv --out clean/ --prompt q --join questions.csv --join-key q --join-column text",
    )
)(preprocess)
app.command(
    epilog=examples(
        "safefed report-data clean/",
        "safefed report-data clean/ --compare clean-by-detoxify/",
        "safefed report-data clean/ --show-text",
    )
)(report_data)
app.command(
    epilog=examples(
        "safefed export clean/ --out export/",
        "trl sft --dataset_name export/sft --model_name_or_path org/model --output_dir tuned/",
        "safefed export clean/ --out export/ --without-originals",
    )
)(export)
app.command(
    epilog=examples(
        "safefed calibrate labelled.csv --label unsafe --out hospital.json",
        "safefed calibrate rows.csv --prompt q --label verdict --unsafe-value bad --recall 0.95 --out mine.json",
        "safefed preprocess client.csv --out clean/ --filter profile:hospital.json",
    )
)(calibrate)
app.command(
    epilog=examples(
        "safefed fit-filter labelled.csv --prompt ask --response answer --label bad --out mine/",
        "safefed fit-filter labelled.csv --label bad --group document --filter classifier:./bert --out mine/",
        "safefed fit-filter labelled.csv --label bad --filter guard:./Llama-Guard-3-1B --category hazard --out mine/",
        "safefed preprocess client.csv --out clean/ --filter linear:mine/",
    )
)(fit_filter)
app.add_typer(constitution, name="constitution")
app.command(epilog=examples("safefed train experiment.toml --arm fedavg --out runs/one"))(train)
app.command(
    epilog=examples(
        "safefed benchmark tiny --suite mini",
        "safefed benchmark ./model --adapter runs/demo/fedavg/adapter --suite advbench,xstest --path advbench=adv.csv",
    )
)(benchmark)
app.command(epilog=examples("safefed doctor", "safefed doctor experiment.toml --set model.name=org/model"))(doctor)


def main() -> None:
    """The console script."""
    app()
