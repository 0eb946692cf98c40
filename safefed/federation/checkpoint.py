"""Rounds on disk: a round exists when its manifest does, and a run goes on from the last one."""

from __future__ import annotations

import shutil
from pathlib import Path

from safefed.adapter import Adapter, read_adapter, save_adapter
from safefed.errors import ConfigError, IntegrityError
from safefed.federation.plan import Plan
from safefed.models import LoadedModel
from safefed.store import MANIFEST, read_json, read_manifest


def _folder(out: Path, server_round: int) -> Path:
    return out / "rounds" / f"round_{server_round:04d}"


def save_round(
    adapter: Adapter, loaded: LoadedModel, plan: Plan, server_round: int, audit_head: str, metrics: dict[str, float]
) -> None:
    """Write a round's global adapter; the manifest, written last, makes it count."""
    folder = _folder(Path(plan.out), server_round)
    facts = {"round": server_round, "run": plan.run_key, "audit_head": audit_head, "metrics": metrics}
    save_adapter(adapter, loaded, folder, **facts)


def finished_rounds(out: Path) -> list[int]:
    """The rounds whose manifest is there, oldest first."""
    return sorted(int(p.parent.name.split("_")[1]) for p in out.glob("rounds/round_*/manifest.json"))


def round_metrics(out: Path) -> list[dict[str, float]]:
    """Losses (see ``objectives.mean_losses``) and bytes of every finished round."""
    return [read_json(_folder(out, r) / MANIFEST)["metrics"] for r in finished_rounds(out)]


def last_round(loaded: LoadedModel, plan: Plan) -> tuple[int, Adapter] | None:
    """The last finished round of this very plan, None if there is none.

    Raises:
        ConfigError: the folder holds rounds of another plan, or rounds although ``resume`` was not asked for.
        IntegrityError: a round is missing in between, or a file changed since it was written.
    """
    out = Path(plan.out)
    rounds = finished_rounds(out)
    if not rounds:
        return None
    if not plan.resume:
        raise ConfigError(f"{out} already holds {len(rounds)} round(s); add --resume to go on, or give another --out")
    if rounds != list(range(1, len(rounds) + 1)):
        raise IntegrityError(f"{out}/rounds has gaps ({rounds}); restore the missing rounds or give another --out")
    folder = _folder(out, rounds[-1])
    manifest = read_manifest(folder) or {}
    if manifest.get("run") != plan.run_key:
        raise ConfigError(f"{out} was written with another configuration; give another --out, or restore the old one")
    return rounds[-1], read_adapter(folder, loaded)


def drop_unfinished(out: Path) -> None:
    """Remove round folders that have no manifest: a crash left them."""
    for folder in out.glob("rounds/round_*"):
        if not (folder / "manifest.json").exists():
            shutil.rmtree(folder)
