"""Fitting a generative guard: LoRA on its own prompt and the word it should answer with, merged at the end.

As the paper did with Llama Guard (arXiv 2502.16691). A row's label trains the question about the answer, or, without
one, the question about the request. The loss is on the answer alone: "safe", or "unsafe" and, where the row names its
hazard, the family's code for it. Where it names none, "unsafe" is all there is to learn: no category is made up, and
which one the guard goes on to write stays its own business. The fitted guard asks what it was fitted on and nothing
else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safefed.adapter import fresh_adapter, merge_adapter
from safefed.errors import ConfigError, DataError
from safefed.filters.guard import GuardFilter
from safefed.filters.guard_answer import added_tokens
from safefed.filters.guard_profile import FITTED, Question, read_argument
from safefed.filters.guard_prompt import Exchange, talk
from safefed.fitting.data import balanced
from safefed.fitting.settings import Plan, machine
from safefed.progress import Progress
from safefed.records import Sample
from safefed.store import write_json
from safefed.training import IGNORED, LocalTraining, TrainReport, train_adapter

AXES = ("response", "prompt")
Tokens = dict[str, list[int]]


class Row(NamedTuple):
    """A row to train on: its axis, "input_ids" and "labels", its label, and whether its answer names a hazard."""

    axis: str
    tokens: Tokens
    unsafe: bool
    named: bool


class GuardFitter:
    """See ``Fitter``; for families that ask one question per axis and list categories, which are the Llama Guards.

    Args:
        argument: As for the filter.
        plan: Rows of more than ``max_length`` tokens, prompt and all, are left out of the training and counted.

    Raises:
        ConfigError: a model in 4 or 8 bit, which cannot be merged into, or a family that cannot be fitted.
        DataError: the model cannot be read.
    """

    def __init__(self, argument: str, plan: Plan) -> None:
        if read_argument(argument)[1].quantization != "none":
            raise ConfigError("what was trained cannot be merged into quantized weights; leave out quantization")
        self._plan = plan
        self.judge: GuardFilter = GuardFilter(argument)
        profile = self.judge.profile
        self._questions = {question.axis: question for question in profile.questions}
        if not profile.categories or len(self._questions) < len(profile.questions):
            raise ConfigError(
                f"{profile.family} asks several questions of which a row's label answers none; fit a Llama Guard, "
                "or calibrate this guard: safefed calibrate"
            )
        self._codes = {entry["hazard"]: code for code, entry in reversed(list(profile.categories.items()))}

    def fit(self, samples: Sequence[Sample], folder: Path, progress: Progress) -> dict[str, Any]:
        """See ``Fitter``. Raises DataError if the rows that fit into ``max_length`` are not of both kinds."""
        kept, left_out = self._rows(samples, progress)
        rows = balanced([row.tokens for row in kept], [row.unsafe for row in kept])
        training, report = self._train(rows, len(kept), folder, progress)
        axes = sorted({row.axis for row in kept})
        write_json(folder / FITTED, {"family": self.judge.family, "axes": axes})
        return {
            "axes": axes,
            "family": self.judge.family,
            "n_rows": len(kept),
            "left_out": left_out,
            "n_balanced": len(rows),
            "n_with_category": sum(row.named for row in kept),
            "steps": training.steps,
            "first_loss": report.first_loss,
            "last_loss": report.last_loss,
            **machine(self.judge.loaded.model.device.type),
        }

    def _train(
        self, rows: Sequence[Tokens], n: int, folder: Path, progress: Progress
    ) -> tuple[LocalTraining, TrainReport]:
        """Train on ``rows`` (``n`` before balancing) and write the merged model."""
        from datasets import Dataset

        training, loaded = self._plan.local(len(rows)), self.judge.loaded
        start = fresh_adapter(loaded, self._plan.lora, self._plan.seed)
        with progress.task(f"train {n} rows", training.steps) as advance:
            adapter, report = train_adapter(loaded, start, Dataset.from_list(list(rows)), training, advance=advance)
        merge_adapter(loaded, adapter)
        loaded.model.save_pretrained(str(folder))
        loaded.tokenizer.save_pretrained(folder)
        return training, report

    def _rows(self, samples: Sequence[Sample], progress: Progress) -> tuple[list[Row], dict[str, int]]:
        """The rows to train on, and how many were left out, by reason."""
        kept: list[Row] = []
        left_out = Counter[str]()
        with progress.task("tokenise", len(samples)) as advance:
            for sample in samples:
                row = self._row(sample)
                if isinstance(row, Row):
                    kept.append(row)
                else:
                    left_out[row] += 1
                advance(1)
        if len({row.unsafe for row in kept}) < 2:
            raise DataError(
                f"the {len(kept)} of {len(samples)} rows that fit into {self._plan.max_length} tokens are not of both "
                "kinds; raise --max-length"
            )
        return kept, dict(left_out)

    def _row(self, sample: Sample) -> Row | str:
        """What ``sample`` teaches, or why it teaches nothing."""
        exchange = talk(sample, self.judge.profile.history)[-1]
        axis = next((axis for axis in AXES if axis in self._questions and exchange.concerns(axis)), None)
        if axis is None:
            return "no-text-on-a-known-axis"
        tokens = self._tokens(exchange, self._questions[axis], sample)
        if tokens is None or len(tokens["input_ids"]) > self._plan.max_length:
            return "too-long"
        return Row(axis, tokens, bool(sample.label), self._code(sample) is not None)

    def _tokens(self, exchange: Exchange, question: Question, sample: Sample) -> Tokens | None:
        """The prompt with the answer, of which alone has loss; None if it does not fit into one window."""
        writer, tokenizer = self.judge.writer, self.judge.loaded.tokenizer
        parts = writer.parts(exchange, question)
        if len(parts) != 1:
            return None
        prompt, opening = writer.text(parts[0], question, {}), self.judge.profile.opening
        code, word = self._code(sample), question.words[not sample.label]
        answer = ("" if prompt.endswith(opening) else opening) + (f"{word}\n{code}" if code else word)
        closed = not sample.label or code is not None
        asked = writer.ids(parts[0], question, {})
        said = added_tokens(tokenizer, prompt, answer) + ([tokenizer.eos_token_id] if closed else [])
        return {"input_ids": asked + said, "labels": [IGNORED] * len(asked) + said}

    def _code(self, sample: Sample) -> str | None:
        hazard = sample.hazard
        return self._codes.get(hazard) if sample.label and hazard else None
