"""How fast the critique-and-revise stage is, against transformers' own generation in the same run.

usage: python perf/revision.py [--rows 64] [--turns 4] [--data FOLDER]

``safefed.constitution.revise`` with the embedded model, the default constitution and the filter ``linear`` as screen,
on rows that this filter flags: GPTFuzz's harmful answers ($SAFEFED_DATA), or the embedded unsafe data where that is
absent. Three generators, one thread, float32, end tokens on, the same prompts as tokens:

  one by one  ``model.generate`` for each prompt alone
  padded      ``model.generate`` in left-padded batches of 32, sorted by length
  safefed     ``LocalGenerator``: batches that are refilled as rows end, what was read of a row is not read again,
              tokens are guessed from earlier answers

They take turns of ``--rows`` fresh rows, each turn begun by another one. Printed: revised rows per minute of CPU time,
for each turn the ratios, their median and range, and the share of prompt tokens that was not read again. Texts are
compared prompt by prompt. Rounding decides between two tokens of which neither is likelier, and ``model.generate`` in
batches then differs from ``model.generate`` alone: such texts are counted, and a difference where the likelier token
leads by more than ``TIE`` ends the program. No text is printed.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")

from safefed.config import ModelConfig, ReviseConfig
from safefed.constitution import load_constitution, revise
from safefed.filters import Filter, load_filter
from safefed.filters.fit_data import SEEN, gptfuzz
from safefed.generate import Generation, LocalGenerator
from safefed.models import LoadedModel, load_model, torch_threads
from safefed.padding import Limits, generate_padded
from safefed.prefixes import n_common
from safefed.records import Sample, Verdict
from safefed.tiny import default_samples

TIE = 1e-4
"""Between logits of 10 and more, in float32: some ten times what the order of additions changes."""

BARS = {"one by one": 8.0, "padded": 1.5}


class Fresh(LocalGenerator):
    """The same prompts through ``model.generate``, ``size`` rows at a time, nothing remembered."""

    def __init__(self, loaded: LoadedModel, size: int) -> None:
        super().__init__(loaded, batch_size=size)

    def _parts(self, prompts: Sequence[Sequence[int]], limits: Limits) -> Iterator[dict[int, list[int]]]:
        yield from generate_padded(self._model, prompts, limits)


@dataclass
class Side:
    """A generator, the seconds of each of its turns, and the answers of the last turn by their prompts' tokens."""

    generator: LocalGenerator
    seconds: list[float] = field(default_factory=list)
    texts: dict[tuple[int, ...], Generation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        extend = self.generator.extend

        def noted(prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[Generation]:
            found = extend(prompts, max_new_tokens)
            self.texts.update(zip(map(tuple, prompts), found, strict=True))
            return found

        self.generator.extend = noted  # type: ignore[method-assign]

    def turn(self, flagged: Sequence[tuple[Sample, Verdict]], screen: Filter) -> list[Sample | None]:
        """Revise ``flagged``; returns what came of each row."""
        self.texts.clear()
        samples, verdicts = [sample for sample, _ in flagged], [verdict for _, verdict in flagged]
        constitution = load_constitution("default")
        started = time.process_time()
        found = revise(samples, verdicts, constitution, self.generator, screen.score, ReviseConfig())
        self.seconds.append(time.process_time() - started)
        return [outcome.sample for outcome in found]


def harmful(data: Path, n: int) -> list[Sample]:
    """Rows to screen, shuffled: enough of them for ``n`` flagged ones."""
    if (data / "gptfuzz").is_dir():
        rows = [sample for bucket in (SEEN, 1 - SEEN) for sample in gptfuzz(data, bucket) if sample.label]
        random.Random(0).shuffle(rows)
    else:
        rows = default_samples("unsafe", 2 * n)
    return rows


def lead(loaded: LoadedModel, prompt: tuple[int, ...], left: Generation, right: Generation) -> float:
    """By how much the likeliest token leads where two answers part."""
    import torch

    sides = [loaded.tokenizer(text.text, add_special_tokens=False)["input_ids"] for text in (left, right)]
    with torch.inference_mode():
        logits = loaded.model(torch.tensor([[*prompt, *sides[0][: n_common(*sides)]]])).logits[0, -1]
    first, second = logits.topk(2).values.tolist()
    return float(first - second)


def ties(loaded: LoadedModel, ours: Side, theirs: Side) -> int:
    """How many answers to equal prompts differ by a tie; leaves the program if one differs by more."""
    shared = ours.texts.keys() & theirs.texts.keys()
    differing = [prompt for prompt in shared if ours.texts[prompt] != theirs.texts[prompt]]
    for prompt in differing:
        if (found := lead(loaded, prompt, ours.texts[prompt], theirs.texts[prompt])) > TIE:
            sys.exit(f"a text differs where one token leads by {found:.6f}")
    return len(differing)


def measure(
    loaded: LoadedModel, sides: dict[str, Side], flagged: Sequence[tuple[Sample, Verdict]], n: int, screen: Filter
) -> int:
    """Let the sides take turns of ``n`` rows; returns how many rows were revised."""
    order, revised = list(sides), 0
    for start in range(0, len(flagged), n):
        results = {name: sides[name].turn(flagged[start : start + n], screen) for name in order}
        revised += sum(sample is not None for sample in results["safefed"])
        order = [*order[1:], order[0]]
        ours = sides["safefed"]
        found = [
            f"{name} {sides[name].seconds[-1] / ours.seconds[-1]:.2f}x ({ties(loaded, ours, sides[name])} ties)"
            for name in BARS
        ]
        parts = f"{len(ours.texts)} texts, {ours.seconds[-1]:.1f} s; {', '.join(found)}"
        print(f"turn {start // n + 1}: {parts}", flush=True)
    return revised


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--data", type=Path, default=os.environ.get("SAFEFED_DATA", ""))
    options = parser.parse_args()
    screen, n = load_filter("linear"), options.rows * options.turns
    rows = harmful(Path(options.data), n)
    scored = zip(rows, screen.score(rows), strict=True)
    flagged = [(sample, verdict) for sample, verdict in scored if verdict.action == "revise"][:n]
    loaded = load_model(ModelConfig(dtype="float32", device="cpu"))
    generators = {"one by one": Fresh(loaded, 1), "padded": Fresh(loaded, 32), "safefed": LocalGenerator(loaded)}
    with torch_threads(1):
        sides = {name: Side(generator) for name, generator in generators.items()}
        revised = measure(loaded, sides, flagged, options.rows, screen)
    for name, side in sides.items():
        print(f"{name}: {60 * revised / sum(side.seconds):.0f} revised rows per minute")
    for name, bar in BARS.items():
        ratios = [theirs / ours for theirs, ours in zip(sides[name].seconds, sides["safefed"].seconds, strict=True)]
        print(f"safefed is {median(ratios):.2f}x {name} ({min(ratios):.2f} to {max(ratios):.2f}; bar {bar})")
    ours = sides["safefed"].generator
    print(f"{1 - ours.n_read / ours.n_prompt_tokens:.1%} of {ours.n_prompt_tokens} prompt tokens were not read again")


if __name__ == "__main__":
    main()
