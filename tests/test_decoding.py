"""The decoding loop against ``model.generate`` one prompt at a time, in float32, over random models of families."""

import os
import random

import pytest

from safefed.drafts import Drafts
from safefed.padding import Limits, generate_padded
from safefed.prefixes import SHORTEST, Prefixes

SIZES = {
    "vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128, "initializer_range": 0.4,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1, "tie_word_embeddings": False,
}  # fmt: skip
SLIDING = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 6}
PLAIN = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "mistral": {"sliding_window": 6},
    "gemma": {},
    "gemma2": SLIDING,
    "gemma3_text": SLIDING,
    "phi": {"num_key_value_heads": 4},
    "gpt_neox": {},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
}
OTHERS = {
    "bloom": {"n_layer": 2, "n_head": 4},  # ALiBi: no positions to give
    "mamba": {"state_size": 4},
    "qwen3_next": {"layer_types": ["linear_attention", "full_attention"], "num_experts": 2, "num_experts_per_tok": 1},
    "llama4_text": {"layer_types": ["chunked_attention", "full_attention"], "attention_chunk_size": 8},
    "phi3": {},  # prepares its own inputs
    "llama": {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}},
}
ENDS = list(range(1, 60, 6))
GUESSING = object()


def build(family, **changes):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(3)
    config = AutoConfig.for_model(family, **{**SIZES, **changes})
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def adapted(model):
    """With a random LoRA adapter."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(4)
    tuned = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    return tuned.eval()


def prompts(n=14, seed=0, header=()):
    rng = random.Random(seed)
    lengths = [1, 2, 40, 41, *(rng.randrange(3, 30) for _ in range(n - 4))]
    return [(*header, *(rng.randrange(2, 60) for _ in range(length))) for length in lengths]


def decode(model, asked, n=10, *, batch_size=3, kept=None, keep=False, drafts=GUESSING):
    """Answers without what follows their end, and how many prompt tokens were read."""
    import torch

    from safefed.decoding import Decoding

    kept = kept or Prefixes(1 << 30)
    with torch.inference_mode():
        given = Drafts() if drafts is GUESSING else drafts
        work = Decoding(model, asked, Limits(ENDS, 0, n, batch_size), kept=kept, keep=keep, drafts=given)
        found = {row: answer for part in work.parts() for row, answer in part.items()}
        return [found[row] for row in range(len(asked))], work.n_read


def counted(model, *args, **options):
    """Answers, and in how many forward passes."""
    passes = []
    hook = model.register_forward_pre_hook(lambda *_: passes.append(1))
    try:
        return decode(model, *args, **options)[0], len(passes)
    finally:
        hook.remove()


def one_by_one(model, asked, n=10):
    """The reference: no batch and no memory."""
    import torch

    with torch.inference_mode():
        found = [next(generate_padded(model, [prompt], Limits(ENDS, 0, n, 1)))[0] for prompt in asked]
    ends = [next((i + 1 for i, token in enumerate(row) if token in ENDS), len(row)) for row in found]
    return [row[:end] for row, end in zip(found, ends, strict=True)]


@pytest.fixture(scope="module")
def llama():
    return build("llama")


@pytest.mark.parametrize("family", PLAIN)
def test_the_tokens_are_those_of_generate_one_prompt_at_a_time(family):
    from safefed.decoding import is_plain

    model = build(family, **PLAIN[family])
    expected = one_by_one(model, prompts())

    assert is_plain(model)
    assert decode(model, prompts()) == (expected, sum(map(len, prompts())))
    assert len({len(answer) for answer in expected}) > 2, "answers end at different places, or nothing is refilled"


@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
def test_the_tokens_are_those_of_generate_with_an_adapter_and_with_prefixes_read_before(family):
    model = adapted(build(family, **PLAIN[family]))
    first, second = prompts(seed=1), [(*prompt, *prompts(seed=2)[i]) for i, prompt in enumerate(prompts(seed=1))]
    kept = Prefixes(1 << 30)

    assert decode(model, first, kept=kept, keep=True)[0] == one_by_one(model, first)
    answers, n_read = decode(model, second, kept=kept, keep=True)

    assert answers == one_by_one(model, second)
    assert n_read < sum(map(len, second)) * 0.8


@pytest.mark.parametrize("family", OTHERS)
def test_models_with_other_state_are_told_by_their_configuration(family):
    from safefed.decoding import is_plain

    assert not is_plain(build(family, **OTHERS[family]))


@pytest.mark.parametrize(("n", "batch_size"), [(1, 4), (2, 64), (70, 1), (70, 4)])
def test_any_limit_and_batch_size_give_the_same_tokens(llama, n, batch_size):
    assert decode(llama, prompts(), n, batch_size=batch_size)[0] == one_by_one(llama, prompts(), n)


@pytest.mark.parametrize("asked", [[], [(5,)], [(5, 6)] * 9])
def test_no_prompt_one_prompt_and_equal_prompts(llama, asked):
    assert decode(llama, asked)[0] == one_by_one(llama, asked)


def test_what_all_prompts_begin_with_is_read_once(llama):
    header = tuple(range(2, 2 + SHORTEST + 5))
    asked = prompts(header=header)

    answers, n_read = decode(llama, asked)

    assert answers == one_by_one(llama, asked)
    # Rows that are read together read as much as the one with the most to read.
    assert len(header) + sum(len(prompt) - len(header) for prompt in asked) <= n_read < 0.8 * sum(map(len, asked))


def test_a_known_prompt_is_read_from_its_last_token_on(llama):
    kept, asked = Prefixes(1 << 30), [tuple(range(2, 42)), tuple(range(20, 59))]
    decode(llama, asked, kept=kept, keep=True)

    assert decode(llama, asked, kept=kept, keep=True) == (one_by_one(llama, asked), 2)


def test_memory_stays_below_its_limit_and_the_tokens_the_same(llama):
    token = 2 * 2 * 2 * 8 * 4  # layers, keys and values, heads, their width, bytes
    kept = Prefixes(100 * token)

    for _ in range(2):
        answers, _ = decode(llama, prompts(), kept=kept, keep=True)

    assert answers == one_by_one(llama, prompts())
    assert 60 * token <= kept.bytes <= 100 * token


def test_a_batch_has_no_more_rows_than_asked_for_and_rows_that_wait_join_it(llama):
    rows = []
    hook = llama.register_forward_pre_hook(lambda _, __, given: rows.append(given["input_ids"].shape), with_kwargs=True)
    try:
        answers, _ = decode(llama, prompts(40), 60, batch_size=8, drafts=None)
    finally:
        hook.remove()

    by_length = [len(answer) for _, answer in sorted(zip(map(len, prompts(40)), answers, strict=True), reverse=True)]
    apart = sum(max(by_length[start : start + 8]) - 1 for start in range(0, 40, 8))
    steps = [shape[0] for shape in rows if shape[1] == 1]
    assert max(steps) == 8
    assert len(steps) < 0.8 * apart


@pytest.mark.parametrize("family", [family for family in PLAIN if "sliding_window" not in PLAIN[family]])
def test_answers_that_were_given_before_are_guessed_and_take_fewer_steps(family):
    model, drafts, asked = adapted(build(family, **PLAIN[family])), Drafts(), prompts(20)
    expected = one_by_one(model, asked, 30)

    (first, n_first), (second, n_second) = (counted(model, asked, 30, batch_size=8, drafts=drafts) for _ in range(2))

    assert first == second == expected
    assert n_second < 0.75 * n_first, "passes that read the prompts among them"


@pytest.mark.parametrize("n", [1, 2, 30])
def test_wrong_guesses_of_any_length_do_not_change_the_tokens(llama, n):
    class Wrong(Drafts):
        def guess(self, text, at_most):
            rng = random.Random(len(text))
            right = super().guess(text, at_most)[: rng.randrange(3)]
            return [*right, *(rng.randrange(60) for _ in range(rng.randrange(20)))][:at_most]

    drafts = Wrong()

    for _ in range(2):
        assert decode(llama, prompts(), n, drafts=drafts)[0] == one_by_one(llama, prompts(), n)


@pytest.mark.parametrize("family", ["mistral", "gemma3_text"])
def test_a_window_of_attention_gets_no_guesses(family):
    model, drafts = build(family, **PLAIN[family]), Drafts()

    (first, n_first), (second, n_second) = (counted(model, prompts(), 30, drafts=drafts) for _ in range(2))

    assert (first, n_first) == (second, n_second)


def test_a_long_prompt_does_not_widen_the_batch_of_short_ones(llama):
    rows = {}

    def note(_, __, given):
        rows.setdefault(given["attention_mask"].shape[1] >= 90, []).append(len(given["input_ids"]))

    asked = [tuple(range(2, 59)) + tuple(range(2, 40)), *prompts()]
    hook = llama.register_forward_pre_hook(note, with_kwargs=True)
    try:
        answers, _ = decode(llama, asked, 20, batch_size=64, drafts=None)
    finally:
        hook.remove()

    assert answers == one_by_one(llama, asked, 20)
    assert set(rows[True]) == {1}
    assert max(rows[False]) > 4


@pytest.mark.parametrize("seed", range(3))
def test_the_longest_known_prefix_is_found(seed):
    import torch

    rng = random.Random(seed)
    known = [(3,) * rng.randrange(14, 18) + tuple(rng.choices((1, 2), k=rng.randrange(5, 12))) for _ in range(60)]
    kept = Prefixes(1 << 20)
    for prompt in known:
        kept.keep(prompt, [(torch.tensor(prompt)[None, None, :, None],) * 2])

    for asked in (*known[:20], *((*prompt[:-2], 9) for prompt in known), (9,) * 30):
        shared = max(min(len(os.path.commonprefix([asked, other])), len(asked) - 1) for other in known)  # noqa: RUF071
        found, held = kept.longest(asked)
        assert found == (shared if shared >= SHORTEST else 0)
        assert not found or tuple(held[0][0][0, 0, :found, 0].tolist()) == asked[:found]


def test_bfloat16_decodes_and_gives_the_same_again():
    import torch

    model = build("llama").to(torch.bfloat16)

    assert decode(model, prompts()) == decode(model, prompts())
