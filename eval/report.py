"""The report: one HTML file that opens offline, needs no scripts and prints well."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safefed.eval import view
from safefed.eval.chart import panels
from safefed.records import LABELS
from safefed.store import write_atomic

if TYPE_CHECKING:
    from jinja2 import Template

SCREENED = ("n_in", "kept", "revised", "dropped", "errored")


def write_report(summary: view.Summary, path: Path) -> None:
    """Render ``summary`` (the content of ``summary.json``) to ``path``, atomically.

    Beside the keys of ``summary.json`` it shows, where they are there: ``versions`` {package: version},
    ``screening.clients`` {client: counts} of an arm, and ``stages`` [{"stage", "arm", "seconds", "cached"}].
    Everything in the summary is escaped.

    Raises:
        DataError: the summary has no arms, or another schema.
    """
    html = page_template("report.html").render(context(summary))
    write_atomic(path, html.encode("utf-8", "replace"))


@functools.cache
def page_template(name: str) -> Template:
    """A template of this package; everything put into it is escaped, nothing may be left out."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    loader = FunctionLoader(lambda name: files("safefed.eval").joinpath(name).read_text("utf-8"))
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)


def context(summary: view.Summary) -> dict[str, Any]:
    """What the template shows."""
    arms, columns, judges = view.arms(summary), view.columns(summary), view.judges(summary)
    cells = {
        (arm, column.name, judge): view.cell(summary, arm, column.name, judge)
        for arm in arms
        for column in columns
        for judge in judges
    }
    return {
        "name": summary.get("name", "safefed"),
        "facts": _facts(summary),
        "arms": arms,
        "columns": columns,
        "main": judges[0] if judges else None,
        "judges": judges,
        "by_filter": any(judge.startswith("filter:") for judge in judges),
        "cells": cells,
        "labels": LABELS,
        "panels": panels(summary),
        "screening": _screening(summary),
        "per_arm": {
            title: found
            for title, (key, facts) in _PER_ARM.items()
            if (found := [(arm, facts(each[key])) for arm, each in _by_arm(summary) if each.get(key)])
        },
        "stages": summary.get("stages", []),
        "duration": view.duration,
        "n_seeds": len(summary.get("seeds", [])),
    }


def _facts(summary: view.Summary) -> list[tuple[str, str]]:
    facts = {
        "Base model": summary.get("base_model"),
        "Seeds": ", ".join(str(seed) for seed in summary.get("seeds", [])),
        "Arms": len(summary["arms"]),
        "Versions": ", ".join(f"{name} {version}" for name, version in sorted(summary.get("versions", {}).items())),
    }
    return [(key, str(value)) for key, value in facts.items() if value]


def _screening(summary: view.Summary) -> list[tuple[str, list[tuple[str, Mapping[str, int]]]]]:
    """(arm, [(client, counts) …, ("all clients", counts)]) of every arm that screened."""
    found = []
    for arm in view.arms(summary):
        screening = summary["arms"][arm].get("screening")
        if screening:
            clients = sorted(screening.get("clients", {}).items())
            found.append((arm, [*clients, ("all clients", {key: screening[key] for key in SCREENED})]))
    return found


def _by_arm(summary: view.Summary) -> list[tuple[str, Mapping[str, Any]]]:
    return [(arm, summary["arms"][arm]) for arm in view.arms(summary)]


def _training_facts(train: Mapping[str, Any]) -> dict[str, str]:
    losses = [("final_loss", ""), ("final_dpo_loss", " per pair")]
    shown = [f"{train[key]:.3f}{unit}" for key, unit in losses if train.get(key) is not None]
    return {
        "Rounds": str(train["rounds"]),
        "Clients": str(train["clients"]),
        "Sent by clients": view.number_of_bytes(train["bytes_up"]),
        "Sent to clients": view.number_of_bytes(train["bytes_down"]),
        "Time": view.duration(train["seconds"]),
        "Final loss": ", ".join(shown) or "not known",
    }


def _alignment_facts(align: Mapping[str, Any]) -> dict[str, str]:
    """Of the first alignment what it found, of all what they cost; a dash is what was not asked."""

    def count(*keys: str) -> str:
        return str(sum(align[key] for key in keys)) if all(key in align for key in keys) else "-"

    return {
        "Times": str(align["alignments"]),
        "Red-team prompts": str(align["red_team"]),
        "declined at once": count("already_refused"),
        "declined by the base": count("base_declined"),
        "Harmless prompts": str(align["harmless"]),
        "helped with by the base": count("base_helped"),
        "declined needlessly": count("needlessly_refused"),
        "Pairs": count("pairs_revised", "pairs_refusal", "pairs_help"),
        "Steps": str(align["steps"]),
        "Tokens read": f"{align['tokens']:,}",
        "Asking and judging": view.duration(align["data_seconds"]),
        "Training": view.duration(align["training_seconds"]),
    }


_PER_ARM = {
    "Federated training": ("train", _training_facts),
    "Alignment on the server": ("align", _alignment_facts),
}
"""Title of a section -> the part of an arm's summary that it shows, and how."""
