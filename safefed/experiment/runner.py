"""Arms of shared stages: screen -> train -> align -> benchmark, then one summary and one report."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safefed.config import ExperimentConfig, load_node
from safefed.errors import ConfigError
from safefed.experiment.arms import ArmPlan, arm_tasks, in_order, plan_arm, training_plan
from safefed.experiment.inputs import read_inputs
from safefed.experiment.partition import write_clients
from safefed.experiment.schedule import Done, Task, run_tasks
from safefed.experiment.summary import arm_summary, training_facts, write_summary
from safefed.models import load_tokenizer, threads_per_process
from safefed.progress import Progress, Silent
from safefed.sources import read_pool
from safefed.store import MANIFEST, read_json, write_json


def _start(config: ExperimentConfig, out: Path, resume: bool) -> list[Path]:
    if (out / "config.json").exists() and not resume:
        raise ConfigError(
            f"{out} already holds a run; add --resume to reuse what it has finished, or give another --out"
        )
    load_tokenizer(config.model)
    local = config.engine in ("inline", "flower:local")
    files = write_clients(config, out / "work") if local else []
    write_json(out / "config.json", config.model_dump(mode="json"))
    return files


def _check_overlap(config: ExperimentConfig, files: Sequence[Path]) -> None:
    """Refuse an experiment that would train on what it evaluates on, as far as the data is on this machine."""
    from safefed.benchmarking import load_benchmarks
    from safefed.eval.overlap import require_disjoint

    cases = [case for benchmark in load_benchmarks(config.benchmark) for case in benchmark.cases]
    sources = [source for file in files for source in load_node(file).data]
    aligned = [config.for_arm(name).align for name in config.arms]  # an arm may have prompts of its own
    pools = {
        "client data": sources,
        "align.prompts": [source for align in aligned for source in align.prompts],
        "align.helpful": [source for align in aligned for source in align.helpful],
    }
    for what, pool in pools.items():
        samples, _ = read_pool({source.model_dump_json(): source for source in pool}.values())
        prompts = (m.content for sample in samples for m in sample.messages if m.role == "user")
        require_disjoint(cases, prompts, what)


def _workers(config: ExperimentConfig, workers: int | None) -> int:
    if workers is not None:
        return workers
    if config.engine != "inline" or config.model.device == "cuda":
        return 1
    return max(1, threads_per_process() // config.threads)


def _is_finished(task: Task, out: Path) -> bool:
    stage = out / "stages" / task.name
    return ((stage / "adapter" if task.kind == "train" else stage) / MANIFEST).exists()


def _publish(arm: ArmPlan, out: Path, first_seed: int) -> None:
    """Copy what a person looks for into the arm's own folder."""
    folder = out / arm.name if arm.seed == first_seed else out / arm.name / f"seed_{arm.seed}"
    if arm.adapter and arm.plan:
        shutil.copytree(arm.adapter, folder / "adapter", dirs_exist_ok=True)
        shutil.copytree(Path(arm.plan.out) / "clients", folder / "clients", dirs_exist_ok=True)
    for file in arm.evaluation.glob("*.jsonl"):
        (folder / "eval").mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, folder / "eval" / file.name)
    stages = {
        "train": Path(arm.plan.out).name if arm.plan else None,
        "align": arm.align.name if arm.align else None,
        "benchmark": arm.evaluation.name,
    }
    write_json(folder / "arm.json", {"arm": arm.arm.model_dump(), "seed": arm.seed, "stages": stages})


def run(
    config: ExperimentConfig,
    out: Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """Run every arm of an experiment with every seed, and write ``out``: arms, ``summary.json``, ``report.html``.

    Args:
        config: The resolved experiment.
        out: The run folder.
        resume: Go on in a folder that already holds a run; finished stages are reused.
        progress: Shows one task per stage.
        workers: Processes of ``config.threads`` threads each; default: as many as fit the CPU share, 1 on a GPU and
            with Flower, which brings its own processes. 0 = all in this process: for notebooks, and for scripts
            without an ``if __name__ == "__main__"`` guard, which worker processes would run again.

    Returns:
        The summary.

    Raises:
        SafefedError: the first thing that went wrong; finished stages stay.
    """
    out = out.resolve()
    files = _start(config, out, resume)
    _check_overlap(config, files)
    inputs = read_inputs(config, files)
    arms = [
        plan_arm(config.for_arm(name), name, arm, seed, out, inputs)
        for name, arm in config.arms.items()
        for seed in config.seeds
    ]
    stages = [(arm, task) for arm in arms for task in arm_tasks(arm, config.for_arm(arm.name), files)]
    tasks = in_order(task for _, task in stages)
    finished = {task.name for task in tasks if _is_finished(task, out)}
    done = run_tasks(
        tasks,
        workers=_workers(config, workers),
        threads=config.threads,
        progress=progress or Silent(),
    )
    for arm in arms:
        _publish(arm, out, config.seeds[0])
    summaries = {name: arm_summary([a for a in arms if a.name == name], done) for name in config.arms}
    return write_summary(config, out, summaries, _stage_rows(stages, done, finished))


def _stage_rows(
    stages: Sequence[tuple[ArmPlan, Task]], done: dict[str, Done], finished: set[str]
) -> list[dict[str, Any]]:
    """One row per stage that was run: the arms it served, the seconds it worked and waited for a worker."""
    served: dict[str, list[str]] = {}
    labels: dict[str, str] = {}
    for arm, task in stages:
        served.setdefault(task.name, []).append(arm.name)
        labels.setdefault(task.name, task.label)
    return [
        {
            "stage": labels[name],
            "arm": ", ".join(dict.fromkeys(served[name])),
            "seconds": round(task.seconds, 2),
            "waited": round(task.waited, 2),
            "cached": name in finished,
        }
        for name, task in done.items()
    ]


def train(
    config: ExperimentConfig,
    out: Path,
    *,
    arm: str = "fedavg",
    resume: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Screen and train one arm federatedly (no alignment, no benchmark); ``out/ARM/adapter`` is the result.

    Raises:
        ConfigError: the arm does not train, or ``out`` holds a run and ``resume`` was not asked for.
        SafefedError: whatever stopped the run; finished rounds stay.
    """
    from safefed.federation.engine import run_engine
    from safefed.models import torch_threads

    out = out.resolve()
    if not config.arms[arm].train:
        raise ConfigError(f"arm {arm!r} does not train; choose another with --arm")
    files = _start(config, out, resume)
    config = config.for_arm(arm)
    plan = training_plan(config, arm, config.arms[arm], config.seeds[0], out, read_inputs(config, files))
    with torch_threads(config.threads):
        adapter = run_engine(config.engine, plan, files, progress or Silent())
    shutil.copytree(adapter, out / arm / "adapter", dirs_exist_ok=True)
    shutil.copytree(Path(plan.out) / "clients", out / arm / "clients", dirs_exist_ok=True)
    manifest = read_json(adapter / MANIFEST)
    return {
        "arm": arm,
        "adapter": str(out / arm / "adapter"),
        "adapter_hash": manifest["adapter"],
        **training_facts(plan),
    }
