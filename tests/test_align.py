"""Alignment on the toy model, with a screen whose verdicts the test decides."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from safefed.adapter import fresh_adapter, read_adapter, state_hash
from safefed.align import align, alignment_data
from safefed.config import AlignConfig, LoraSettings, ModelConfig, ReviseConfig
from safefed.constitution import load_constitution
from safefed.errors import DataError
from safefed.models import LoadedModel, load_model, weights_hash
from safefed.records import Sample, Verdict
from safefed.store import read_jsonl, read_manifest

RED = [Sample.of(f"red-team request {i}") for i in range(6)]
HELPFUL = [Sample.of(f"harmless question {i}") for i in range(12)]
REVISE = ReviseConfig(max_new_tokens=6)
CONFIG = AlignConfig(steps=2, batch_size=2, helpful_share=0.5)


class Screen:
    """Calls an answer a refusal, safe or unsafe by what ``decide`` says of it."""

    name = "scripted"
    revision = "1"

    def __init__(self, decide) -> None:
        self.decide = decide

    def score(self, samples: Sequence[Sample]) -> list[Verdict]:
        return [self._verdict(sample, *self.decide(sample)) for sample in samples]

    def _verdict(self, sample: Sample, unsafe: float, refusal: float) -> Verdict:
        action = "revise" if unsafe >= 0.5 else "keep"
        return Verdict(sample.id, self.name, {"prompt": 1.0, "refusal": refusal}, unsafe, "S2", action)


@pytest.fixture
def loaded(toy_model: Path) -> LoadedModel:
    return load_model(ModelConfig(name=str(toy_model)))


def build(loaded: LoadedModel, decide, **changes):
    adapter = fresh_adapter(loaded, LoraSettings(rank=2), seed=1)
    arguments = {"screen": Screen(decide), "constitution": load_constitution(), "revise_config": REVISE,
                 "config": CONFIG} | changes  # fmt: skip
    return adapter, alignment_data(loaded, adapter, RED, HELPFUL, **arguments)


def test_answers_that_decline_are_kept_and_every_other_is_replaced(loaded):
    def decide(sample: Sample) -> tuple[float, float]:
        fine = sample.prompt.endswith(("0", "1")) or sample.meta.get("revised") or sample.prompt.startswith("harmless")
        return (0.1, 0.9) if fine else (0.9, 0.1)

    _, data = build(loaded, decide)

    red = [row for row in data.rows if row.prompt.startswith("red")]
    assert data.counts["already_refused"] == 2
    assert data.counts["revised"] == 4
    assert len(red) == 6
    assert all(row.meta.get("revised") for row in red if not row.prompt.endswith(("0", "1")))


def test_helpful_rows_make_up_the_share_that_was_asked_for(loaded):
    _, half = build(loaded, lambda _: (0.1, 0.9))
    _, none = build(loaded, lambda _: (0.1, 0.9), config=CONFIG.model_copy(update={"helpful_share": 0.0}))

    assert half.counts["helpful"] == 6
    assert none.counts["helpful"] == 0


def test_with_no_safe_answer_at_all_alignment_refuses_to_train(loaded):
    with pytest.raises(DataError, match="could be made safe"):
        build(loaded, lambda _: (0.9, 0.1))


def test_alignment_writes_rows_pairs_and_an_adapter_and_leaves_the_base(loaded, tmp_path):
    before = weights_hash(loaded.model)
    adapter, data = build(loaded, lambda _: (0.1, 0.9))

    aligned, _ = align(loaded, adapter, data, tmp_path, config=CONFIG, max_length=128, seed=3)

    assert weights_hash(loaded.model) == before
    assert state_hash(read_adapter(tmp_path / "adapter", loaded).state) == state_hash(aligned.state)
    assert state_hash(aligned.state) != state_hash(adapter.state)
    assert len(list(read_jsonl(tmp_path / "rows.jsonl"))) == len(data.rows)
    assert read_manifest(tmp_path)["counts"] == data.counts
    for folder in (tmp_path, tmp_path / "adapter"):
        assert load_constitution().about().items() <= read_manifest(folder).items()
