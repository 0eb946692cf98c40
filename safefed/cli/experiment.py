"""``safefed run`` and ``safefed train``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from safefed.cli.options import Experiment, Json, Out, Resume, Settings, run_folder
from safefed.errors import ConfigError

if TYPE_CHECKING:
    from safefed.config import ExperimentConfig

Arms = Annotated[list[str] | None, typer.Option("--arm", metavar="ARM", help="Only this arm. Repeatable.")]


def run(
    experiment: Experiment = None,
    out: Out = None,
    settings: Settings = None,
    arms: Arms = None,
    resume: Resume = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=0, help="Processes for stages; default: as many as fit the CPUs.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Preprocess, train, align and benchmark every arm; ends with a table and a report.

    Without EXPERIMENT.toml it runs the embedded default: a small model, four clients, six arms, minutes on two cores.
    """
    from safefed.cli.output import note, print_json, print_table, working
    from safefed.config import load_experiment

    config = _only(load_experiment(experiment, settings or ()), arms or [])
    folder = run_folder(out, config)
    if notice := config.revise.generator.notice:
        note(f"rows to be revised: {notice}")
    with working() as progress:
        from safefed.experiment import run as run_experiment

        summary = run_experiment(config, folder, resume=resume, progress=progress, workers=workers)
    if as_json:
        print_json(summary)
        return
    from safefed.eval.table import terminal_table

    print_table(terminal_table(summary))
    typer.echo(f"report: {folder / 'report.html'}")


def _check_arms(config: ExperimentConfig, wanted: list[str]) -> None:
    unknown = [arm for arm in wanted if arm not in config.arms]
    if unknown:
        raise ConfigError(f"no arm {', '.join(unknown)}; the experiment has {', '.join(config.arms)}")


def _only(config: ExperimentConfig, wanted: list[str]) -> ExperimentConfig:
    _check_arms(config, wanted)
    chosen = {name: arm for name, arm in config.arms.items() if name in wanted}
    return config.model_copy(update={"arms": chosen or config.arms})


def train(
    experiment: Experiment = None,
    out: Out = None,
    settings: Settings = None,
    arm: Annotated[str, typer.Option("--arm", metavar="ARM", help="The arm whose settings are used.")] = "fedavg",
    resume: Resume = False,
    as_json: Json = False,
) -> None:
    """Train one arm's adapter federatedly, on client data screened as that arm says."""
    from safefed.cli.output import note, print_json, working
    from safefed.config import load_experiment

    config = load_experiment(experiment, settings or ())
    _check_arms(config, [arm])
    folder = run_folder(out, config)
    if notice := config.revise.generator.notice:
        note(f"rows to be revised: {notice}")
    with working() as progress:
        from safefed.experiment import train as train_arm

        result = train_arm(config, folder, arm=arm, resume=resume, progress=progress)
    if as_json:
        print_json(result)
        return
    for name, value in result.items():
        typer.echo(f"{name}: {value}")
