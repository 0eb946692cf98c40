"""The recipe of the embedded model: corpus -> tokenizer -> a small Llama, trained from scratch on the CPU.

    pip install 'safefed[recipe]'
    python -m safefed.tiny.train --out DIR --processes 4 --data "$SAFEFED_DATA"

With the same data, steps, processes and machine the weights are the same. A killed run continues where its last
checkpoint is when the command is repeated.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safefed.models import weights_hash
from safefed.tiny import batches
from safefed.tiny.begin import prepare
from safefed.tiny.encoder import sentence_encoder
from safefed.tiny.network import (
    RECIPES,
    Recipe,
    answer_loss,
    average_gradients,
    export,
    hidden_states,
    learning_rate,
    meaning_loss,
    new_model,
    optimizer_for,
    teacher_of,
)
from safefed.tiny.tokens import PAD, token_id

if TYPE_CHECKING:
    from safefed.overlap import Encode
    from safefed.tiny.begin import Begun


MEANING_WEIGHT = 2.0
"""Of the distance to what the sentence encoder makes of a request, beside the loss of the answer's tokens."""
HASHED_STEPS = 50
"""The learning curve has a hash of the weights after each of the first steps: does the recipe repeat?"""


class Run:
    """One training run: its model, its progress, and how both are saved and resumed."""

    def __init__(self, begun: Begun) -> None:
        from torch.nn import ModuleList

        self.folder, self.recipe, self.tokenizer, self.rows, taught = begun
        self.model = new_model(self.recipe, self.tokenizer, taught and taught.vectors)
        self.teacher = taught and teacher_of(self.recipe, taught.meanings)
        self.learning = ModuleList([self.model, self.teacher.head] if self.teacher else [self.model])
        self.optimizer = optimizer_for(self.learning, self.recipe)
        self.step, self.seconds = 0, 0.0
        self._resume()

    def train(self, steps: int, rank: int = 0, of: int = 1, until: int | None = None) -> None:
        """Train to ``steps``, or stop at step ``until`` of them.

        With ``of`` processes each takes its own batch of every step; process 0 writes.
        """
        last = steps if until is None else min(until, steps)
        for data in itertools.islice(self._data(rank, of), max(0, last - self.step)):
            losses = self._one_step(data, learning_rate(self.recipe, self.step, self.step / steps))
            if rank == 0:
                self._log(*losses)
            if rank == 0 and (self.step % self.recipe.save_every == 0 or self.step == last):
                self.save()

    def _data(self, rank: int, of: int) -> Iterator[batches.Batch]:
        pad = token_id(self.tokenizer, PAD)
        for batch in batches.stream(self.rows, self.recipe.tokens, self.recipe.seed, self.step, rank, of):
            yield batches.tensors(self.rows, batch, pad)

    def _one_step(self, batch: batches.Batch, rate: float) -> tuple[float, float]:
        import torch

        start = time.monotonic()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        last, middle = hidden_states(self.model, batch)
        said = answer_loss(self.model, last, batch)
        meant = meaning_loss(self.teacher, middle, batch) if self.teacher else said.new_zeros(())
        (said + MEANING_WEIGHT * meant).backward()
        average_gradients(self.learning)
        torch.nn.utils.clip_grad_norm_(self.learning.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.seconds += time.monotonic() - start
        return said.item(), meant.item()

    def _log(self, said: float, meant: float) -> None:
        line: dict[str, Any] = {"step": self.step, "loss": round(said, 4), "seconds": round(self.seconds, 1)}
        if self.teacher:
            line["meaning"] = round(meant, 4)
        if self.step <= HASHED_STEPS:
            line["weights"] = weights_hash(self.model)
        with (self.folder / "curve.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def save(self) -> None:
        """Checkpoint and the model as it would be shipped (bfloat16 weights)."""
        import torch

        state = {
            "learning": self.learning.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        torch.save(state, self.folder / "checkpoint.tmp")
        os.replace(self.folder / "checkpoint.tmp", self.folder / "checkpoint.pt")
        export(self.model, self.tokenizer, self.folder / "model")

    def _resume(self) -> None:
        import torch

        if (self.folder / "checkpoint.pt").exists():
            state = torch.load(self.folder / "checkpoint.pt", weights_only=True)
            self.learning.load_state_dict(state["learning"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds = state["step"], state["seconds"]


def run(
    out: Path,
    data: Path | None,
    recipe: Recipe,
    steps: int,
    processes: int = 1,
    encoder: Encode | None = None,
    until: int | None = None,
) -> None:
    """The whole recipe: ``out`` gets ``model/``, ``corpus.json``, ``curve.jsonl`` and a checkpoint.

    ``processes`` share every step (one batch each); on busy cores they are faster than as many threads. ``until`` stops
    early, in the schedule of ``steps``.

    Raises:
        ConfigError: ``out`` holds a run of another recipe or other data.
        DataError: a data set is missing in ``data``.
    """
    from torch.multiprocessing.spawn import spawn

    begun = prepare(out, data, recipe, encoder)
    if processes == 1:
        Run(begun).train(steps, until=until)
    else:
        meeting = f"file://{out.resolve()}/meeting"
        (out / "meeting").unlink(missing_ok=True)
        spawn(_worker, (begun, steps, until, processes, meeting), nprocs=processes)


def _worker(rank: int, begun: Begun, steps: int, until: int | None, of: int, meeting: str) -> None:
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=of)
    Run(begun).train(steps, rank, of, until)
    distributed.destroy_process_group()


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the embedded model from scratch.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", choices=RECIPES, default="tiny", help="which model (default: tiny)")
    parser.add_argument("--steps", type=int, default=2700, help="optimisation steps (default: 2700)")
    parser.add_argument("--until", type=int, help="stop at this step, in the schedule of --steps")
    parser.add_argument("--data", default=os.environ.get("SAFEFED_DATA"), help="data sets ($SAFEFED_DATA), or none")
    parser.add_argument(
        "--no-encoder", action="store_true", help="no embeddings or meanings to learn from, words alone compared"
    )
    parser.add_argument("--processes", type=int, default=1, help="one-thread processes that share each step")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m safefed.tiny.train``."""
    import torch

    arguments = _arguments(argv)
    if arguments.data is None:
        raise SystemExit("give --data DIR (or set SAFEFED_DATA), or --data none to train on the written corpus alone")
    torch.set_num_threads(1)
    data = None if arguments.data == "none" else Path(arguments.data)
    encoder = None if arguments.no_encoder else sentence_encoder(arguments.processes)
    run(arguments.out, data, RECIPES[arguments.recipe], arguments.steps, arguments.processes, encoder, arguments.until)


if __name__ == "__main__":
    main()
