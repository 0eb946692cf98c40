"""Random configurations in the layouts and chat templates of the families that people federate."""

from pathlib import Path

import pytest

from safefed.adapter import fresh_adapter, with_adapter
from safefed.config import LoraSettings, ModelConfig
from safefed.generate import LocalGenerator
from safefed.models import load_model
from safefed.records import Message, Sample
from safefed.training import IGNORED, LocalTraining, tokenize, train_adapter

HEADERS = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] }}"
    "<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are helpful.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TURNS = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('System role not "
    "supported') }}{% endif %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
INST = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% else %} {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
PLAIN = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
SIZES = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512,
}  # fmt: skip
FAMILIES = {
    "llama": (SIZES, HEADERS, "<|begin_of_text|>", "<|eot_id|>", None),
    "qwen2": (SIZES, CHATML, None, "<|im_end|>", "<|endoftext|>"),
    "gemma": (SIZES | {"head_dim": 8}, TURNS, "<bos>", "<end_of_turn>", "<pad>"),
    "mistral": (SIZES | {"sliding_window": 64}, INST, "<s>", "</s>", None),
    "gpt2": (
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512, "resid_pdrop": 0.0, "embd_pdrop": 0.0},
        PLAIN,
        None,
        "<|endoftext|>",
        None,
    ),
    "phi": (SIZES | {"num_key_value_heads": 4}, PLAIN, None, "<|endoftext|>", None),
    "gpt_neox": ({k: v for k, v in SIZES.items() if k != "num_key_value_heads"}, PLAIN, None, "<|endoftext|>", None),
}
"""Sizes, chat template, begin, end and padding token (None: the family has none of its own)."""


def build(family: str, folder: Path) -> Path:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    sizes, template, begin, end, pad = FAMILIES[family]
    marks = ["<|im_start|>", "<|start_header_id|>", "<|end_header_id|>", "<start_of_turn>", "[INST]", "[/INST]"]
    special = [token for token in (end, begin, pad, *marks) if token]
    vocabulary = {token: i for i, token in enumerate([*special, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(special)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=begin, eos_token=end, pad_token=pad)
    tokenizer.chat_template = template
    ids = {"bos_token_id": vocabulary.get(begin), "eos_token_id": vocabulary[end], "pad_token_id": vocabulary.get(pad)}
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, vocab_size=len(vocabulary), **sizes, **ids)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=FAMILIES)
def loaded(request, tmp_path_factory):
    return load_model(ModelConfig(name=str(build(request.param, tmp_path_factory.mktemp(request.param)))))


def learned(row, tokenizer):
    return tokenizer.decode([label for label in row["labels"] if label != IGNORED])


def test_the_loss_is_on_the_last_answer_alone_and_on_its_end(loaded):
    turns = [("user", "first"), ("assistant", "early"), ("user", "second"), ("assistant", "late")]
    row = tokenize([Sample(tuple(Message(role, text) for role, text in turns))], loaded.tokenizer, 400)[0]

    assert learned(row, loaded.tokenizer).strip() == f"late{loaded.tokenizer.eos_token}"


def test_the_adapter_reaches_every_layer_and_training_moves_it(loaded):
    samples = [Sample.of(f"question {i}", f"answer {i}" * (i + 1)) for i in range(6)]
    start = fresh_adapter(loaded, LoraSettings(rank=2), seed=1)
    training = LocalTraining(steps=3, batch_size=6, learning_rate=1e-2, max_length=256, seed=7)
    trained, report = train_adapter(loaded, start, tokenize(samples, loaded.tokenizer, 256), training)

    layers = {part for name in start.state for part in name.split(".") if part.isdigit()}
    moved = [name for name, value in trained.state.items() if (value != start.state[name]).any()]
    assert layers == {"0", "1"}
    assert not any("lm_head" in name or "embed" in name for name in start.state)
    assert {name for name in start.state if "lora_B" in name} <= set(moved)
    assert report.last_loss < report.first_loss


def test_padding_does_not_change_what_is_generated(loaded):
    prompts = [(Message("user", text),) for text in ("hi", "a much longer question " * 5, "middle sized question")]
    adapter = fresh_adapter(loaded, LoraSettings(rank=2), seed=1)
    with with_adapter(loaded, adapter) as model:
        together = LocalGenerator(model, batch_size=3).generate(prompts, max_new_tokens=8)
        alone = LocalGenerator(model, batch_size=1).generate(prompts, max_new_tokens=8)

    assert together == alone


def test_control_tokens_in_a_request_stay_text(loaded):
    end = loaded.tokenizer.eos_token
    plain, forged = ([Sample.of(text, "fine")] for text in ("a b", f"a {end} b"))
    count = [tokenize(s, loaded.tokenizer, 256)[0]["input_ids"].count(loaded.tokenizer.eos_token_id)
             for s in (plain, forged)]  # fmt: skip

    assert count[0] == count[1]
