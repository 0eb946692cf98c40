"""Shared fixtures: a toy chat model that any test can load from disk in milliseconds."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from safefed.config import GeneratorConfig
    from safefed.endpoint import EndpointGenerator

gc.disable()  # while the libraries are imported: they leave a million objects that live to the end

TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


class Seen:
    """A Progress that counts: the steps of all tasks, of those that are parts of others, and which tasks are open."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.parts: Counter[str] = Counter()
        self.open: set[str] = set()

    @contextmanager
    def task(self, description: str, _total: int, *, part: bool = False) -> Iterator[Callable[[int], None]]:
        counters = (self.done, self.parts) if part else (self.done,)

        def advance(steps: int) -> None:
            for counter in counters:
                counter[description] += steps

        self.open.add(description)
        yield advance
        self.open.remove(description)


@pytest.fixture
def seen() -> Seen:
    return Seen()


def pytest_collection_finish() -> None:
    """No search for garbage goes through the imported libraries again; a trainer asks for three in every run."""
    gc.freeze()
    gc.enable()


def build_toy_model(folder: Path, seed: int = 0) -> Path:
    """A random two-layer Llama with a byte-level tokenizer of 300 tokens, saved like a hub model."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*special, *alphabet])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(special)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<|pad|>", eos_token="<|end|>")
    tokenizer.chat_template = TEMPLATE
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=512, pad_token_id=0, eos_token_id=1, bos_token_id=1, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(seed)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def build_letter_bert(
    folder: Path, labels: list[str], marks: dict[str, str], limit: int = 64, bias: float = -4.0, rest: float = -9.0
):
    """A small BERT, one token a letter, saved like a hub model: a label holds for a text with its letter in it.

    ``marks`` is {label: letter}; without any the weights are random. ``bias`` is that of marked labels, ``rest`` that
    of the others.
    """
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    letters = [chr(c) for c in range(33, 127)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
    table = {token: i for i, token in enumerate(vocabulary)}
    BertTokenizer(vocab=table, model_max_length=limit).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(table), hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
        max_position_embeddings=limit, id2label=dict(enumerate(labels)), label2id={n: i for i, n in enumerate(labels)},
        initializer_range=0.3,
    )  # fmt: skip
    torch.manual_seed(0)
    model = BertForSequenceClassification(config)
    if marks:
        for name, tensor in model.state_dict().items():
            tensor.fill_(1.0 if "LayerNorm.weight" in name else 0.0)
        attention = model.bert.encoder.layer[0].attention
        for linear in (attention.self.value, attention.output.dense, model.bert.pooler.dense):
            linear.weight.data.copy_(torch.eye(8))
        model.classifier.bias.data.copy_(torch.tensor([bias if label in marks else rest for label in labels]))
        for place, (label, letter) in enumerate(marks.items()):
            model.bert.embeddings.word_embeddings.weight.data[[table[letter], table[f"##{letter}"]], place] = 1.0
            model.classifier.weight.data[labels.index(label), place] = 10.0
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="session")
def make_letter_bert():
    return build_letter_bert


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_toy_model(tmp_path_factory.mktemp("toy-model"))


@pytest.fixture(scope="session")
def make_toy_model():
    return build_toy_model


def build_profile(path: Path, **changes):
    """A profile of the embedded filter, written to ``path``."""
    import numpy as np

    from safefed.filters import load_filter
    from safefed.filters.calibration import Platt
    from safefed.filters.drift import histogram
    from safefed.filters.operating import Goal, figures
    from safefed.filters.profile import Profile, write_profile

    unsafe = np.repeat([False, True], 10)
    measured = figures(unsafe, np.linspace(0, 1, 20), unsafe)
    facts = {
        "filter": "linear", "filter_revision": load_filter("linear").revision, "goal": Goal(), "threshold": 0.4,
        "calibration": Platt(slope=0.5, offset=-1.0), "before": measured, "after": measured, "n": 20,
        "unsafe_share": 0.5, "auroc": 1.0, "auroc_ci95": [1.0, 1.0], "scores": histogram(np.linspace(0, 1, 20)),
        "rows_sha256": "0" * 64,
    }  # fmt: skip
    profile = Profile(**{**facts, **changes})
    write_profile(profile, path)
    return profile


@pytest.fixture(scope="session")
def make_profile():
    return build_profile


class Server:
    """The process of ``served_model.py``."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"

    def call(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"{self.url.removesuffix('/v1')}/{path}", data) as answer:
            return json.loads(answer.read())

    def config(self, **changes: Any) -> GeneratorConfig:
        from safefed.config import GeneratorConfig

        facts = {"kind": "endpoint", "url": self.url, "model": "served", "timeout_s": 5.0, "attempts": 3}
        return GeneratorConfig.model_validate({**facts, **changes})

    def generator(self, **changes: Any) -> EndpointGenerator:
        from safefed.endpoint import EndpointGenerator

        return EndpointGenerator(self.config(**changes))

    def faults(self, **by_number: str) -> None:
        """``n3="500"``: the request number 3 from now, counted from 0, gets this instead of an answer."""
        self.call("faults", {number.lstrip("n"): fault for number, fault in by_number.items()})

    def asked(self) -> Any:
        return self.call("asked")


@contextmanager
def serving(speaker: str) -> Iterator[Server]:
    command = [sys.executable, str(Path(__file__).parent / "served_model.py"), speaker]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Server(int(process.stdout.readline()))
        finally:
            process.kill()


@pytest.fixture(scope="session", name="serving")
def _serving():
    return serving


@pytest.fixture(scope="session")
def running_server():
    with serving("words") as server:
        yield server


@pytest.fixture
def server(running_server):
    """An OpenAI-compatible server on loopback, in a process of its own, that answers at once."""
    running_server.faults()
    return running_server
