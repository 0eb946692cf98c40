import pytest
import torch

from safefed.config import ModelConfig
from safefed.errors import ConfigError, DataError
from safefed.filters import load_filter
from safefed.filters.guard import GuardFilter
from safefed.filters.guard_answer import AnswerReader, Words, find_words
from safefed.filters.guard_profile import profiles
from safefed.models import LoadedModel
from safefed.records import Message, Sample

BAD = "~"
FILLER = "We had tea and bread near the river. " * 70


def plainly(model, prompt, words):
    """The two probabilities as a plain call of the model gives them, one prompt at a time, word after word."""
    with torch.no_grad():
        direct = model(input_ids=torch.tensor([prompt])).logits[0, -1].softmax(-1)
        both = [float(direct[word]) for word in words.direct]
        if words.opening:
            way = 1.0
            for i, token in enumerate(words.opening):
                ids = torch.tensor([[*prompt, *words.opening[:i]]])
                way *= float(model(input_ids=ids).logits[0, -1].softmax(-1)[token])
            opened = model(input_ids=torch.tensor([[*prompt, *words.opening]])).logits[0, -1].softmax(-1)
            both = [p + way * float(opened[word]) for p, word in zip(both, words.opened, strict=True)]
    return both[0] / sum(both), 1.0 - sum(both)


@pytest.mark.parametrize("family", ["llama-guard-3", "llama-guard-4", "shieldgemma", "wildguard"])
@pytest.mark.parametrize("opening", [(), (9,), (9, 11)])
def test_probabilities_are_those_of_a_plain_call_whatever_the_batch(guard_parts, monkeypatch, family, opening):
    tokenizer = guard_parts.make_tokenizer()
    sharp = guard_parts.make_model(family, tokenizer, initializer_range=0.4)
    reader = AnswerReader(LoadedModel(sharp, tokenizer, {}, ModelConfig()))
    words = Words(opening, (20, 30), (20, 30) if not opening else (21, 31))
    draw = torch.Generator().manual_seed(1)
    prompts = [torch.randint(0, 270, (n,), generator=draw).tolist() for n in (300, 7, 41, 7, 200, 1)]
    expected = [plainly(sharp, prompt, words) for prompt in prompts]

    for budget in (1, 500, 100_000):
        monkeypatch.setattr("safefed.filters.guard_answer.BUDGET", budget)
        found = reader.read([*prompts, prompts[0]], words)
        assert found[-1] == found[0]
        for answer, (score, outside) in zip(found, expected, strict=False):
            assert answer.score == pytest.approx(score, abs=1e-5)
            assert answer.outside == pytest.approx(outside, abs=1e-5)


@pytest.mark.parametrize("family", ["llama-guard-3", "shieldgemma", "wildguard"])
def test_prompt_and_response_are_flagged_by_the_guard_s_word(make_guard, family):
    judge = load_filter(f"guard:{family}={make_guard(family)}")

    kept, asked, answered = judge.score([Sample.of("hi", "yes"), Sample.of(f"a {BAD}"), Sample.of("hi", f"so {BAD}")])

    assert (kept.action, asked.action, answered.action) == ("keep", "revise", "revise")
    assert kept.reason == "below-threshold"
    assert kept.scores["prompt"] < 0.01 > kept.scores["outside"]
    assert asked.scores["prompt"] > 0.9 < answered.scores["response"]
    assert set(asked.scores) == {"prompt", "outside"}
    assert asked.reason.startswith("harmful-prompt")
    assert answered.reason.startswith("harmful-response")
    assert all(verdict.filter_revision == judge.revision for verdict in (kept, asked, answered))


def test_wildguard_also_says_whether_the_answer_declines(make_guard):
    verdict = GuardFilter(f"wildguard={make_guard('wildguard')}").score([Sample.of("hi", "no")])[0]

    assert set(verdict.scores) == {"prompt", "refusal", "response", "outside"}


@pytest.mark.parametrize(
    ("says", "category", "note"),
    [
        (["\n", "S2"], "S2", ""),
        (["\n", "S2", ",", "S5"], "S2", "; categories S2,S5"),
        (["\n", "S15"], None, "; category-unknown"),
        (["!", "?"], None, "; category-unparsed"),
        ([], None, "; category-unparsed"),
    ],
)
def test_the_category_of_a_flagged_sample_is_what_the_guard_goes_on_to_say(make_guard, says, category, note):
    judge = GuardFilter(f"llama-guard-3={make_guard('llama-guard-3', says=says)}")

    flagged, kept = judge.score([Sample.of("hi", BAD), Sample.of("hi", "yes")])

    assert (flagged.action, flagged.category, flagged.reason) == ("revise", category, f"harmful-response{note}")
    assert kept.category is None


def test_shieldgemma_s_category_is_the_guideline_that_was_violated_most(make_guard):
    judge = GuardFilter(str(make_guard("shieldgemma")))

    assert judge.score([Sample.of("hi", BAD)])[0].category in {"S1", "S10", "S12"}


def test_a_guard_that_writes_no_blank_line_first_is_read_as_well(make_guard):
    guards = [f"llama-guard-3={make_guard('llama-guard-3', opens=o, name=str(o))}" for o in (True, False)]

    found = [GuardFilter(guard).score([Sample.of(f"a {BAD}"), Sample.of("hi")]) for guard in guards]

    assert [[v.action for v in verdicts] for verdicts in found] == [["revise", "keep"]] * 2
    assert [verdicts[0].category for verdicts in found] == ["S2", "S2"]


def test_a_model_that_answers_with_anything_else_errs_and_never_keeps(make_guard):
    judge = GuardFilter(f"llama-guard-3={make_guard('llama-guard-3', says=None)}")

    verdicts = judge.score([Sample.of("hi", "yes"), Sample.of(BAD)])

    assert [(v.action, v.reason, v.unsafe) for v in verdicts] == [("error", "not-a-guard-answer", 1.0)] * 2


def test_a_model_that_gives_nan_errs(make_guard):
    judge = GuardFilter(f"llama-guard-3={make_guard('llama-guard-3')}")
    judge._reader._model.lm_head.weight.data.fill_(float("nan"))

    assert judge.score([Sample.of("hi", "yes")])[0].action == "error"


def test_what_comes_after_the_model_s_context_is_caught_as_alone(make_guard):
    judge = GuardFilter(f"llama-guard-3={make_guard('llama-guard-3', max_position_embeddings=2048)}")

    texts = (FILLER, f"{FILLER} So {BAD} it is.", f"{FILLER} So {BAD} it is. {FILLER}")
    found = judge.score([*(Sample.of("hi", text) for text in texts), *map(Sample.of, texts)])

    assert len(FILLER) > 2048
    assert [verdict.action for verdict in found] == ["keep", "revise", "revise"] * 2


def test_llama_guard_4_is_read_as_a_whole_where_its_configuration_leaves_the_chunks_open(make_guard):
    folders = [
        make_guard("llama-guard-4", says=None, attention_chunk_size=size, name=str(size)) for size in (None, 4096)
    ]
    open_, whole = (GuardFilter(str(folder)) for folder in folders)
    words = Words((), (20, 30), (20, 30))

    assert open_._reader.read([[7] * 600], words) == whole._reader.read([[7] * 600], words)
    assert open_.score([Sample.of("hi", "yes")])[0].reason == "not-a-guard-answer"


def test_every_turn_is_asked_about(make_guard):
    judge = GuardFilter(f"llama-guard-3={make_guard('llama-guard-3')}")
    turns = [Message(role, "ok") for role in ("system", "user", "assistant", "user", "assistant")]

    bad = [[Message(m.role, BAD) if n == i else m for n, m in enumerate(turns)] for i in range(5)]
    verdicts = judge.score([Sample(tuple(said)) for said in [turns, *bad]])

    assert [verdict.action for verdict in verdicts] == ["keep", *["revise"] * 5]


def test_every_sample_gets_one_verdict_in_order(make_guard):
    judge = GuardFilter(f"llama-guard-3={make_guard('llama-guard-3')}")
    samples = [
        Sample.of("", "answer"),
        Sample(()),
        Sample.of("\0"),
        Sample.of("\ud800 hi"),
        Sample.of("hi"),
        Sample.of(BAD),
    ]

    verdicts = judge.score([*samples, *samples])

    assert [v.sample_id for v in verdicts] == [s.id for s in samples] * 2
    assert [v.action for v in verdicts] == ["keep", "error", "error", "keep", "keep", "revise"] * 2
    assert judge.score([]) == []


def test_the_revision_changes_with_weights_template_taxonomy_and_threshold(make_guard, monkeypatch):
    codes = "".join(f"\nS{i}: A" for i in range(1, 15))
    own = f"{{% for m in messages %}}{{{{ m.content }}}}{{% endfor %}}.{codes}<|end_header_id|>"
    plain = make_guard("llama-guard-3")
    other = make_guard("llama-guard-3", says=["\n", "S3"], name="other")
    named = f"llama-guard-3={plain}"
    revisions = [
        GuardFilter(named).revision,
        GuardFilter(named, threshold=0.4).revision,
        GuardFilter(f"llama-guard-3={other}").revision,
        GuardFilter(f"llama-guard-3-1b={plain}").revision,
    ]
    profile = profiles()["llama-guard-3"]
    swapped = type(profile)(**{name: getattr(profile, name) for name in profile.__slots__} | {"digest": "other"})
    monkeypatch.setattr("safefed.filters.guard_profile.profiles", lambda: {"llama-guard-3": swapped})
    revisions.append(GuardFilter(named).revision)
    monkeypatch.undo()
    shipped = GuardFilter(str(make_guard("llama-guard-3", template=own, name="shipped")))

    assert shipped.template == "model"
    assert len({*revisions, shipped.revision}) == 6
    assert GuardFilter(named).revision == revisions[0]


def test_a_processor_with_bfloat16_runs_a_guard_in_it_unless_told_otherwise(make_guard, monkeypatch):
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_bf16": True})
    named = f"llama-guard-3={make_guard('llama-guard-3')}"
    quick, exact, halved = (GuardFilter(f"{named}{dtype}") for dtype in ("", "#dtype=float32", "#dtype=bfloat16"))

    kept, flagged = quick.score([Sample.of("hi", "yes"), Sample.of(f"a {BAD}")])

    assert (kept.action, flagged.action) == ("keep", "revise")
    assert quick.revision == halved.revision != exact.revision


def test_words_that_begin_alike_are_refused(guard_parts):
    tokenizer = guard_parts.make_tokenizer()
    question = profiles()["llama-guard-3"].questions[0]
    alike = type(question)(question.axis, question.reads, ("xa", "xb"))

    with pytest.raises(DataError, match="with the same token"):
        find_words(tokenizer, "prompt", alike, "")


def test_a_model_that_is_not_there_and_a_model_of_another_family_are_refused(make_guard):
    with pytest.raises(DataError, match="does not exist"):
        GuardFilter("/nowhere/guard")
    with pytest.raises(ConfigError, match="is not 'wildguard': its model_type is 'gemma2'"):
        GuardFilter(f"wildguard={make_guard('shieldgemma')}")
