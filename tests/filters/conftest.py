"""Small guard models: real architectures, random weights or weights that make them say what a test wants."""

import itertools
import json
from types import SimpleNamespace

import pytest

CONTROL = [
    "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|header_start|>", "<|header_end|>",
    "<|eot|>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<s>", "</s>", "[INST]", "[/INST]", "<|pad|>",
]  # fmt: skip
WORDS = ["\n\n", "unsafe", "safe", "Yes", "No", " yes", " no", *(f"S{i}" for i in range(1, 16))]
TYPES = {
    "llama-guard-3": "llama", "llama-guard-3-1b": "llama", "llama-guard-4": "llama4_text", "shieldgemma": "gemma2",
    "wildguard": "mistral",
}  # fmt: skip
DECIDES = {"shieldgemma": ("\n\n", "Yes", "No"), "wildguard": (":", " yes", " no")}
"""The token before the word, the word that counts and the other; Llama Guard's by default."""

BAD = "~"
"""What a scripted guard calls unsafe, wherever it stands in the prompt."""


def make_tokenizer(template=None):
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate([*CONTROL, *alphabet])}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(CONTROL)
    backend.add_tokens([AddedToken(word, normalized=False) for word in WORDS])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<bos>", eos_token="<|eot_id|>", pad_token="<|pad|>"
    )
    tokenizer.chat_template = template
    return tokenizer


def make_model(family, tokenizer, hidden=32, **settings):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {
        "vocab_size": len(tokenizer), "hidden_size": hidden, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 4096,
        "tie_word_embeddings": False, "bos_token_id": 0, "eos_token_id": 3, "pad_token_id": 14,
    }  # fmt: skip
    if family == "llama-guard-4":
        sizes |= {"intermediate_size_mlp": 16, "moe_layers": [], "attention_chunk_size": 256, "num_hidden_layers": 4}
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(TYPES[family], **sizes | settings)).eval()


def script(model, tokenizer, family, chain):
    """Weights that answer by ``BAD`` and then go on along ``chain``: what follows depends on the last token alone."""
    import torch

    spare, id_of = len(tokenizer), tokenizer.convert_tokens_to_ids
    before, bad, good = (one(tokenizer, word) for word in DECIDES.get(family, ("\n\n", "unsafe", "safe")))
    state = {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}
    if family != "shieldgemma":  # whose norms add 1 to their weights
        state |= {name: torch.ones_like(tensor) for name, tensor in state.items() if "norm" in name}
    state["model.embed_tokens.weight"][:, :spare] = torch.eye(spare)
    scale = state["model.norm.weight"].numel() ** 0.5
    state["model.layers.0.self_attn.v_proj.weight"][0, id_of(BAD)] = 1.0
    state["model.layers.0.self_attn.o_proj.weight"][spare, 0] = 300.0 / scale
    head = state["lm_head.weight"]
    head[bad, :spare] = -100.0
    head[bad, spare], head[bad, before], head[good, before] = 10.0, 0.5, 1.0
    for token, following in itertools.pairwise(chain):
        head[following, token] = 1.0
    head *= 30.0 / scale
    model.load_state_dict(state)
    return model


def one(tokenizer, text):
    (token,) = tokenizer(text, add_special_tokens=False)["input_ids"]
    return token


@pytest.fixture
def make_guard(tmp_path):
    """Writes a guard into a folder and returns the folder.

    ``says`` is what a scripted guard adds to "unsafe"; None: random weights. ``opens``: it writes a blank line first.
    """

    def build(family, *, says=("\n", "S2"), opens=True, template=None, name="guard", **settings):
        tokenizer = make_tokenizer(template)
        hidden = 32 if says is None else len(tokenizer) + 2
        model = make_model(family, tokenizer, hidden, **settings)
        if says is not None:
            chain = [one(tokenizer, token) for token in ("unsafe", *says, "<|eot_id|>")]
            script(model, tokenizer, family, chain)
            end, first = one(tokenizer, "<|end_header_id|>"), one(tokenizer, "\n\n")
            if opens:
                model.lm_head.weight.data[first, end] = 30.0 / hidden**0.5
            else:
                model.lm_head.weight.data[:, end] = model.lm_head.weight.data[:, first]
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        return tmp_path / name

    return build


@pytest.fixture
def guard_parts():
    """The pieces of the above, and the raw JSON of a family."""

    def raw(family):
        from safefed.filters.guard_profile import GUARDS

        return json.loads((GUARDS / f"{family}.json").read_text())

    return SimpleNamespace(make_tokenizer=make_tokenizer, make_model=make_model, types=TYPES, control=CONTROL, raw=raw)
