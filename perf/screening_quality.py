"""How well the screens tell unsafe from safe: the table of docs/screening.md.

usage: SAFEFED_DATA=DIR python perf/screening_quality.py [--kind linear] [--encoder FOLDER]
Prints one Markdown table: figures across sources (no row of the set's source was fitted on) and in domain (held out by
question, context or document) apart. In domain, heads are refitted to the set's own rows (what
``safefed fit-filter`` does), fold by fold, and thrown away. They start from the package's own, but from nothing where
the package's heads were fitted on some of these rows (DiaSafety, GPTFuzz): they would look better there than they are.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from screening_sets import SETS, Labelled, diasafety, fuzz_all_answers, refusals

from safefed.filters import load_filter
from safefed.filters.combine import OPENING
from safefed.filters.fit_data import examples
from safefed.filters.fit_domain import domain_heads, starting_point
from safefed.filters.fit_heads import Example, Features, calibrate, fit_axis, held_out_logits
from safefed.filters.heads import Heads, save_heads, sigmoid
from safefed.filters.quality import decisions, ranking
from safefed.tiny.encoder import packaged_encoder

ACROSS = ("OpenAI moderation as prompts", "XSTest prompts", "AdvBench goals against Alpaca seed tasks",
          "SQuARe OOD, English", "KoSBi, English")  # fmt: skip
HOME = ("GPTFuzz rows, unseen questions", "GPTFuzz harmful rows against benign rows, unseen",
        "GPTFuzz answers, unseen questions", "DiaSafety validation")  # fmt: skip
FOLDS = {"OpenAI moderation as prompts": 2, "SQuARe OOD, English": 10, "KoSBi, English": 5}
HEADER = (
    "| set | screen | n | unsafe | AUROC [95 %] | recall at 5 % FPR | lost at 95 % recall | F1 | precision | recall "
    "| FPR | κ |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def line(name: str, kind: str, rows: Sequence[Labelled], scores: Any, threshold: float = 0.5) -> str:
    """One line of the table; flags at ``threshold``."""
    unsafe, groups = np.array([row.positive for row in rows]), [row.group or str(i) for i, row in enumerate(rows)]
    r, d = ranking(unsafe, scores, groups), decisions(unsafe, scores >= threshold)
    low, high = r.auroc_ci95
    return (
        f"| {name} | {kind} | {r.n} | {r.unsafe_share:.2f} | {r.auroc:.3f} [{low:.3f}, {high:.3f}] "
        f"| {r.recall_at_fpr5:.2f} | {r.lost_at_recall95:.2f} | {d.f1:.3f} | {d.precision:.3f} | {d.recall:.3f} "
        f"| {d.fpr:.3f} | {d.kappa:.2f} |"
    )


def unfitted(filter_name: str, rows: Sequence[Labelled]) -> Any:
    """The package's own scores: of the axis that the set is about, or of the row as a whole."""
    verdicts = load_filter(filter_name).score([row.sample for row in rows])
    pairs = zip(rows, verdicts, strict=True)
    return np.array([v.scores.get(row.axis, 0.0) if row.axis else v.unsafe for row, v in pairs])


def fold(rows: Sequence[Labelled], n: int) -> Any:
    """Which of ``n`` folds each row is in; rows of one group share one."""
    names = sorted({row.group or row.sample.id for row in rows})
    order = dict(zip(names, np.random.default_rng(0).permutation(len(names)) % n, strict=True))
    return np.array([order[row.group or row.sample.id] for row in rows])


def fitted(kind: str, rows: Sequence[Labelled], test: Sequence[Labelled], features: Features, own: Heads) -> Any:
    """What the filter ``kind`` says of ``test`` after it was refitted to ``rows``."""
    samples = [replace(row.sample, meta={**row.sample.meta, "unsafe": row.positive}) for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        save_heads(Path(folder), kind, domain_heads(samples, features, own))
        verdicts = load_filter(f"{kind}:{folder}").score([row.sample for row in test])
    return np.array([verdict.unsafe for verdict in verdicts])


def cross_validated(kind: str, rows: Sequence[Labelled], n: int, features: Features, own: Heads) -> Any:
    """Probabilities of every row under heads that were refitted without its fold."""
    folds, scores = fold(rows, n), np.zeros(len(rows))
    for k in range(n):
        fit, out = [rows[i] for i in np.flatnonzero(folds != k)], np.flatnonzero(folds == k)
        scores[out] = fitted(kind, fit, [rows[i] for i in out], features, own)
    return scores


def judged(model: str, other: str, data: Path, features: Features, ours: Sequence[Example]) -> tuple[Any, Any]:
    """Rows of ``other``'s completions and their refusal scores under a head that saw only ``model``'s labels."""
    seen = [Example(r.sample.response[:OPENING], r.positive, "xstest", r.sample.prompt) for r in refusals(model)(data)]
    found, test = [*ours, *seen], list(refusals(other)(data))
    rows = features.rows("refusal", [example.text for example in found])
    slope, offset = calibrate(held_out_logits("refusal", found, features, rows), found, "refusal")
    head, bias = fit_axis("refusal", found, features, rows)
    logits = features.logits("refusal", [row.sample.response[:OPENING] for row in test], head, bias)
    return test, sigmoid(slope * logits + offset)


def report(kind: str, argument: str, data: Path) -> Iterator[str]:
    """The lines of one kind of screen."""
    name = f"{kind}:{argument}" if argument else kind
    sets = {title: list(read(data)) for title, read in SETS.items()}
    features, own = starting_point(kind, argument)
    for title in ACROSS:
        yield line(f"across: {title}", kind, sets[title], unfitted(name, sets[title]))
    ours = examples(data)["refusal"]
    for model, other in (("llama2new", "mistralinstruct"), ("mistralinstruct", "llama2new")):
        rows, scores = judged(model, other, data, features, ours)
        yield line(f"across: refusals of {other}, with labels of {model}", kind, rows, scores)
        yield line(f"across: refusals of {other}, package", kind, rows, unfitted(name, rows))
    for title in HOME:
        yield line(f"in domain: {title}", kind, sets[title], unfitted(name, sets[title]))
    title, fresh = "DiaSafety validation", replace(own, axes={}, biases={}, calibration={})
    scores = fitted(kind, list(diasafety("train")(data)), sets[title], features, fresh)
    yield line(f"in domain, fitted: {title}", kind, sets[title], scores)
    rows = list(fuzz_all_answers(data))
    scores = cross_validated(kind, rows, 5, features, fresh)
    yield line("in domain, 5 folds by question: GPTFuzz answers", kind, rows, scores)
    for title, n in FOLDS.items():
        scores = cross_validated(kind, sets[title], n, features, own)
        yield line(f"in domain, {n} folds: {title}", kind, sets[title], scores)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", choices=["linear", "embedding"], action="append")
    parser.add_argument("--encoder", default=str(packaged_encoder()), help="folder of all-MiniLM-L6-v2")
    options = parser.parse_args()
    if "SAFEFED_DATA" not in os.environ:
        raise SystemExit("needs the public data sets: export SAFEFED_DATA=DIR")
    print(HEADER)
    for kind in options.kind or ["linear", "embedding"]:
        for text in report(kind, options.encoder if kind == "embedding" else "", Path(os.environ["SAFEFED_DATA"])):
            print(text, flush=True)


if __name__ == "__main__":
    main()
