"""Alignment on the toy model, with a screen whose verdicts the test decides."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from safefed.adapter import fresh_adapter, read_adapter, state_hash
from safefed.align import AlignmentData, AlignSettings, Means, align, align_adapter, alignment_data, alignment_prompts
from safefed.align.answers import declines
from safefed.align.contrasts import contrasts
from safefed.config import AlignConfig, LoraSettings, ModelConfig, ReviseConfig
from safefed.constitution import load_constitution
from safefed.errors import ConfigError, DataError
from safefed.eval.benchmarks import load_suite
from safefed.generate import Generation, LocalGenerator
from safefed.models import LoadedModel, load_model, weights_hash
from safefed.overlap import Index, words
from safefed.records import PreferencePair, Sample, Verdict
from safefed.store import read_json, read_jsonl, read_manifest

UNSAFE = "Sure, here is how ... [omitted]"
REFUSAL = "I can't help with that."
RED = [Sample.of(f"red-team request {i}") for i in range(6)]
HELPFUL = [Sample.of(f"harmless question {i}") for i in range(12)]
REVISE = ReviseConfig(max_new_tokens=6)
CONFIG = AlignConfig(distil_steps=0, sft_steps=2, dpo_steps=2, batch_size=2, helpful_share=0.5, n_contrasts=0)


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


def build(loaded: LoadedModel, decide, harmless=HELPFUL, **changes):
    adapter = fresh_adapter(loaded, LoraSettings(rank=2), seed=1)
    means = Means(Screen(decide), load_constitution(), REVISE, CONFIG.model_copy(update=changes))
    return adapter, alignment_data(loaded, adapter, RED, harmless, means)


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
    def decide(sample: Sample) -> tuple[float, float]:
        return (0.1, 0.1) if sample.prompt.startswith("harmless") else (0.1, 0.9)

    _, half = build(loaded, decide)
    _, none = build(loaded, decide, helpful_share=0.0)

    assert half.counts["helpful"] == 6
    assert none.counts["helpful"] == 0


def test_an_answer_that_declines_a_harmless_prompt_is_never_a_helpful_row(loaded):
    _, data = build(loaded, lambda _: (0.1, 0.9))

    assert data.counts["helpful"] == data.counts["pairs_help"] == 0
    assert data.counts["needlessly_refused"] == len(HELPFUL)


def test_where_both_models_decline_the_prompts_own_answer_is_preferred_to_their_refusal(loaded):
    harmless = [prompt.with_response("a known answer") for prompt in HELPFUL]

    _, data = build(loaded, lambda s: (0.1, 0.1 if s.response == "a known answer" else 0.9), harmless, n_anchors=0)

    assert [pair.chosen for pair in data.pairs] == ["a known answer"] * len(HELPFUL)
    assert not {pair.rejected for pair in data.pairs} & {"", *load_constitution().refusals}


def test_for_prompts_without_a_mistake_refusals_and_help_are_preferred_to_their_opposites(loaded):
    def decide(sample: Sample) -> tuple[float, float]:
        complies = sample.prompt.startswith("harmless") or sample.response.startswith("Sure")
        return (0.1, 0.1) if complies else (0.1, 0.9)

    _, data = build(loaded, decide, n_anchors=5)

    refusals, help_ = data.pairs[:5], data.pairs[5:]
    assert (data.counts["pairs_refusal"], data.counts["pairs_help"]) == (5, len(help_)) == (5, 5)
    assert all(pair.rejected.startswith("Sure, here is") for pair in refusals)
    assert all(pair.rejected in load_constitution().refusals for pair in help_)


def test_with_no_safe_answer_at_all_alignment_refuses_to_train(loaded):
    with pytest.raises(DataError, match="could be made safe"):
        build(loaded, lambda _: (0.9, 0.1))


def test_the_critic_is_recorded_and_may_be_the_base_or_the_global_model_itself(loaded):
    critics = {critic: build(loaded, lambda _: (0.1, 0.9), critic=critic)[1].critic for critic in ("base", "self")}

    assert critics["base"] == LocalGenerator(loaded, base_only=True).revision
    assert critics["self"] != critics["base"]


def test_an_endpoint_as_critic_has_to_be_configured(loaded):
    with pytest.raises(ConfigError, match=r"revise\.generator"):
        build(loaded, lambda _: (0.1, 0.9), critic="endpoint")


def run(loaded: LoadedModel, out: Path, **changes):
    settings = AlignSettings(align=CONFIG.model_copy(update=changes), revise=REVISE, max_length=128)
    adapter = fresh_adapter(loaded, LoraSettings(rank=2), seed=1)
    rows = [Sample.of("q", "a"), Sample.of("q", "a", teacher="base")]
    data = AlignmentData(rows, [PreferencePair("q", "good", "bad")] * 2, {"red_team": 2}, "me")
    return adapter, align(loaded, adapter, data, out, settings=settings, seed=3, cost={})


def test_alignment_writes_rows_pairs_cost_and_an_adapter_and_leaves_the_base(loaded, tmp_path):
    before = weights_hash(loaded.model)

    adapter, aligned = run(loaded, tmp_path)

    assert weights_hash(loaded.model) == before
    assert state_hash(read_adapter(tmp_path / "adapter", loaded).state) == state_hash(aligned.state)
    assert state_hash(aligned.state) != state_hash(adapter.state)
    assert len(list(read_jsonl(tmp_path / "rows.jsonl"))) == len(list(read_jsonl(tmp_path / "pairs.jsonl"))) == 2
    manifest = read_manifest(tmp_path)
    assert (manifest["start"], manifest["critic"]) == (state_hash(adapter.state), "me")
    assert manifest["sft"]["steps"] == manifest["dpo"]["steps"] == 2
    assert manifest["sft"]["tokens"] > 0
    assert read_json(tmp_path / "cost.json")["training_seconds"] > 0


PARTS = ("distil", "sft", "dpo")


@pytest.mark.parametrize("kept", PARTS)
def test_any_part_of_the_training_can_be_left_out(loaded, tmp_path, kept):
    run(loaded, tmp_path, **{f"{part}_steps": 2 * (part == kept) for part in PARTS})

    assert set(PARTS) & read_manifest(tmp_path).keys() == {kept}


def test_a_budget_of_tokens_bounds_each_part(loaded, tmp_path):
    run(loaded, tmp_path, tokens=1, **{f"{part}_steps": 9 for part in PARTS})

    assert [read_manifest(tmp_path)[part]["steps"] for part in PARTS] == [1, 1, 1]


def test_the_base_model_teaches_where_it_is_right_and_the_global_model_is_not_asked(loaded, monkeypatch):
    def decide(sample: Sample) -> tuple[float, float]:
        declined = sample.prompt.endswith(("0", "1"))
        unsafe = sample.prompt in ("red-team request 1", "harmless question 2")
        return (0.9 if unsafe else 0.1, 0.9 if declined else 0.1)

    asked: list[bool] = []
    streamed = LocalGenerator._streamed

    def counted(self, prompts, max_new_tokens):
        asked.append(self._base_only)
        return streamed(self, prompts, max_new_tokens)

    monkeypatch.setattr(LocalGenerator, "_streamed", counted)
    _, data = build(loaded, decide, distil_steps=1, sft_steps=0, dpo_steps=0)

    declining = {"harmless question 0", "harmless question 1", "harmless question 10", "harmless question 11"}
    helped = {sample.prompt for sample in HELPFUL} - declining - {"harmless question 2"}
    assert {row.prompt for row in data.rows} == {"red-team request 0"} | helped
    assert {row.meta["teacher"] for row in data.rows} == {"base"}
    assert not data.pairs
    assert data.counts == {"red_team": 6, "harmless": 12, "base_declined": 1, "base_helped": len(helped)}
    assert asked
    assert all(asked)


def test_a_base_model_that_declines_nothing_teaches_nothing(loaded):
    with pytest.raises(DataError, match=r"base model declines none of 6.*distil_steps = 0"):
        build(loaded, lambda _: (0.1, 0.1), distil_steps=1)


def test_each_kind_of_prompt_ends_with_its_side_of_the_contrasts():
    red_team, harmless = alignment_prompts(AlignConfig(n_prompts=3, n_helpful=4, n_contrasts=5), seed=0)

    assert [len(red_team), len(harmless)] == [3 + 5, 4 + 5]
    assert all(pair in contrasts() for pair in zip(harmless[4:], red_team[3:], strict=True))
    assert all(prompt.response for prompt in harmless[4:])


def test_contrasts_repeat_no_prompt_of_each_other_or_of_the_embedded_suites():
    found = [sample.prompt for pair in contrasts() for sample in pair]
    suites = [case.prompt for name in ("mini", "contrasts") for b in load_suite(name) for case in b.cases]

    assert len({words(prompt) for prompt in found}) == 600
    assert not list(Index(suites).find(found))


def test_an_alignment_of_another_adapter_is_not_taken_for_this_one(toy_model, tmp_path, seen):
    loaded = load_model(ModelConfig(name=str(toy_model)))
    small = {"n_prompts": 4, "n_helpful": 4, "dpo_steps": 0}
    settings = AlignSettings(align=CONFIG.model_copy(update=small), revise=REVISE)
    one, other = (fresh_adapter(loaded, LoraSettings(rank=2), seed=seed) for seed in (1, 2))

    first = align_adapter(loaded, one, settings, tmp_path, seed=0, training_seed=0, progress=seen)
    written = (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns
    again = align_adapter(loaded, one, settings, tmp_path, seed=0, training_seed=0)
    unchanged = (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns
    second = align_adapter(loaded, other, settings, tmp_path, seed=0, training_seed=0)

    assert written == unchanged
    assert state_hash(first.state) == state_hash(again.state) != state_hash(second.state)
    assert not list(tmp_path.glob("*.log"))
    assert seen.done["alignment: answers"] > 0
    assert seen.done["alignment: steps"] == CONFIG.sft_steps


def test_an_alignment_with_other_settings_or_prompts_is_made_anew_in_the_same_folder(loaded, tmp_path):
    small = AlignSettings(
        align=CONFIG.model_copy(update={"n_prompts": 4, "n_helpful": 4, "dpo_steps": 0}), revise=REVISE
    )
    faster = small.model_copy(update={"align": small.align.model_copy(update={"sft_learning_rate": 1e-2})})
    start = fresh_adapter(loaded, LoraSettings(rank=2), seed=1)

    def aligned(settings: AlignSettings, seed: int = 0) -> str:
        return state_hash(align_adapter(loaded, start, settings, tmp_path, seed=seed, training_seed=0).state)

    assert len({aligned(small), aligned(faster), aligned(small, seed=5)}) == 3


def test_where_no_originals_may_be_kept_no_answer_of_the_global_model_is_written(loaded, tmp_path, monkeypatch):
    class Wavering(LocalGenerator):
        """Says what can be looked for: declines every second request, and none when its answer is begun for it."""

        def stream(self, conversations, **_):
            yield {i: Generation((REFUSAL, UNSAFE)[i % 2], "stop") for i in range(len(conversations))}

        def generate(self, conversations, **_):
            return [Generation(UNSAFE, "stop") for _ in conversations]

    revise = REVISE.model_copy(update={"keep_originals": False})
    align_ = CONFIG.model_copy(update={"n_prompts": 4, "n_helpful": 4, "dpo_steps": 0})
    settings, start = AlignSettings(align=align_, revise=revise), fresh_adapter(loaded, LoraSettings(rank=2), seed=1)
    written: list[bytes] = []

    def looked_at(*_: object, **__: object) -> None:
        written.extend(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())

    monkeypatch.setattr("safefed.align.data.LocalGenerator", Wavering)
    with monkeypatch.context() as patched:
        patched.setattr("safefed.align.stage.align", looked_at)
        align_adapter(loaded, start, settings, tmp_path, seed=0, training_seed=0)
    align_adapter(loaded, start, settings, tmp_path, seed=0, training_seed=0)
    looked_at()

    assert (tmp_path / "manifest.json").exists()
    assert not [data for data in written if UNSAFE.encode() in data]


def test_a_resumed_alignment_asks_the_models_nothing_twice(toy_model, tmp_path, monkeypatch):
    loaded = load_model(ModelConfig(name=str(toy_model)))
    settings = AlignSettings(align=CONFIG.model_copy(update={"n_prompts": 4, "n_helpful": 4}), revise=REVISE)
    start, asked = fresh_adapter(loaded, LoraSettings(rank=2), seed=1), []
    streamed = LocalGenerator._streamed

    def counted(self, prompts, max_new_tokens):
        asked.append(len(prompts))
        return streamed(self, prompts, max_new_tokens)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalGenerator, "_streamed", counted)
    monkeypatch.setattr(LocalGenerator, "_read", lambda *_: Generation(REFUSAL, "stop"))  # so that there are anchors
    with monkeypatch.context() as patched:
        patched.setattr("safefed.align.stage.align", killed)
        with pytest.raises(KeyboardInterrupt):
            align_adapter(loaded, start, settings, tmp_path, seed=0, training_seed=0)
    assert (tmp_path / "begun.log").read_text().count(REFUSAL) == 4
    before = sum(asked)
    align_adapter(loaded, start, settings, tmp_path, seed=0, training_seed=0)

    assert sum(asked) == before


def test_preferences_cannot_be_trained_where_no_unsafe_answer_may_be_kept(toy_model, tmp_path):
    loaded = load_model(ModelConfig(name=str(toy_model)))
    settings = AlignSettings(align=CONFIG, revise=REVISE.model_copy(update={"keep_originals": False}))

    with pytest.raises(ConfigError, match="dpo_steps = 0"):
        align_adapter(
            loaded, fresh_adapter(loaded, LoraSettings(rank=2), 1), settings, tmp_path, seed=0, training_seed=0
        )


def test_a_screen_that_knows_no_refusals_leaves_them_to_the_first_words():
    unknown = Verdict("id", "guard", {"response": 0.1}, 0.1)

    assert declines(Sample.of("q", "I'm sorry, but I can't help with that."), unknown)
    assert not declines(Sample.of("q", "Sure, here is how."), unknown)
    assert not declines(
        Sample.of("q", "I'm sorry, but I can't help with that."), replace(unknown, scores={"refusal": 0.1})
    )
