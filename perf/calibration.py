"""What 50 and 200 labelled rows of a foreign source do for a filter's probabilities and threshold.

usage: SAFEFED_DATA=DIR python perf/calibration.py [--filter linear] [--draws 20] [--fpr 0.05 | --recall 0.9]
Prints a Markdown table. Each figure is the mean over random slices; a slice is calibrated on, all other rows of the
source are measured on, and every map is thrown away: the sources are for measuring only. "refused" are slices that
``safefed calibrate`` would refuse, since the filter ranks their rows no better than chance; they are in no mean.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from screening_sets import SETS, Labelled

from safefed.filters import load_filter
from safefed.filters.calibration import fit
from safefed.filters.operating import Goal, choose_threshold, figures
from safefed.filters.quality import auroc

SIZES = (50, 200)


SOURCES: dict[str, Callable[[Path], Iterable[Labelled]]] = {
    "OpenAI moderation as prompts": SETS["OpenAI moderation as prompts"],
    "KoSBi, English": SETS["KoSBi, English"],
    "XSTest prompts": SETS["XSTest prompts"],
}


def scored(name: str, rows: Iterable[Labelled]) -> tuple[Any, Any, Any]:
    """Labels, scores and flags of the distinct rows that the filter can score."""
    unique = {row.sample.id: row for row in rows}
    verdicts = load_filter(name).score([row.sample for row in unique.values()])
    known = [
        (row.positive, v.unsafe, v.action == "revise")
        for row, v in zip(unique.values(), verdicts, strict=True)
        if v.action != "error"
    ]
    labels, scores, flags = zip(*known, strict=True)
    return np.array(labels), np.array(scores), np.array(flags)


def calibrated(unsafe: Any, scores: Any, size: int, goal: Goal, draws: int) -> tuple[Any, int]:
    """Mean [false-positive rate, recall, calibration error] on the rest, and how many slices were refused."""
    found, refused = [], 0
    for seed in range(draws):
        chosen = np.zeros(len(unsafe), dtype=bool)
        chosen[np.random.default_rng(seed).permutation(len(unsafe))[:size]] = True
        calibrate = fit(unsafe[chosen], scores[chosen])
        if calibrate.flat:
            refused += 1
            continue
        threshold = choose_threshold(unsafe[chosen], calibrate(scores[chosen]), goal)
        rest = calibrate(scores[~chosen])
        measured = figures(unsafe[~chosen], rest, rest >= threshold)
        found.append([measured.fpr, measured.recall, measured.ece])
    return np.mean(found, axis=0), refused


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--filter", default="linear")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--fpr", type=float, default=0.05)
    parser.add_argument("--recall", type=float)
    options = parser.parse_args()
    goal = Goal(kind="recall", rate=options.recall) if options.recall else Goal(kind="fpr", rate=options.fpr)
    data = Path(os.environ["SAFEFED_DATA"])
    print(f"Filter {options.filter}, threshold for a {goal}, mean of {options.draws} slices\n")
    print("| source | AUROC | rows labelled | false-positive rate | recall | calibration error | refused |")
    print("|---|---|---|---|---|---|---|")
    for name, read in SOURCES.items():
        unsafe, scores, flags = scored(options.filter, read(data))
        own = figures(unsafe, scores, flags)
        print(f"| {name} | {auroc(unsafe, scores):.3f} | 0 | {own.fpr:.3f} | {own.recall:.3f} | {own.ece:.3f} | |")
        for size in SIZES:
            (fpr, recall, ece), refused = calibrated(unsafe, scores, size, goal, options.draws)
            print(f"| | | {size} | {fpr:.3f} | {recall:.3f} | {ece:.3f} | {refused} |", flush=True)


if __name__ == "__main__":
    main()
