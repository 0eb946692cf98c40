"""Base model, tokenizer and their identity: one base model per process, adapters are swapped into it."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safefed.config import ModelConfig
from safefed.errors import ConfigError, DataError
from safefed.records import content_hash
from safefed.store import sha256_bytes

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A base model in eval mode with its tokenizer.

    Attributes:
        fingerprint: sha-256 of weights ("base"), tokenizer ("tokenizer") and chat template ("template").
    """

    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerBase
    fingerprint: dict[str, str]
    config: ModelConfig


def threads_per_process(processes: int = 1) -> int:
    """Torch threads for each of ``processes`` equal processes on the CPUs this process may use (at least 1)."""
    return max(1, len(os.sched_getaffinity(0)) // processes)


@contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """Run the body with ``n`` torch threads; results depend on the count, so it is part of what is recorded."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _dtype(config: ModelConfig, device: str) -> torch.dtype:
    import torch

    if config.dtype != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[config.dtype]
    return torch.bfloat16 if device == "cuda" and torch.cuda.is_bf16_supported() else torch.float32


def has_bfloat16(device: str) -> bool:
    """Whether the hardware multiplies bfloat16 matrices faster than float32."""
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def device_of(config: ModelConfig) -> str:
    """Where the model is to be: "cuda" or "cpu". Raises ConfigError when that is not there."""
    import torch

    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("model.device is 'cuda' but torch sees no GPU; set model.device='cpu' or run: safefed doctor")
    if config.device != "auto":
        return config.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def source_of(config: ModelConfig) -> str:
    """The folder or hub id that ``from_pretrained`` is given. Raises DataError when a named folder is absent."""
    if config.name == "tiny":
        from safefed.tiny import path

        return str(path())
    if Path(config.name).is_dir():
        return str(Path(config.name))
    if config.name.startswith((".", "/", "~")):
        raise DataError(f"model folder {config.name} does not exist; give a folder, a hub id or 'tiny'")
    return config.name


def _quantization(config: ModelConfig) -> Any:
    if config.quantization == "none":
        return None
    from transformers import BitsAndBytesConfig

    if config.quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")


def weights_hash(model: PreTrainedModel) -> str:
    """sha-256 over every parameter's name, shape and bytes, in sorted order."""
    import torch

    parts: list[Any] = []
    for name, tensor in sorted(model.state_dict().items()):
        raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        parts.append([name, list(tensor.shape), str(tensor.dtype), sha256_bytes(raw)])
    return content_hash(parts)


def load_tokenizer(config: ModelConfig, *, chat: bool = True) -> PreTrainedTokenizerBase:
    """The tokenizer, with a padding token and, for ``chat``, a chat template.

    Raises:
        DataError: it cannot be loaded, or has no chat template.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source_of(config), revision=config.revision)
    except (OSError, ValueError) as error:
        raise DataError(_cannot_load(config, error)) from None
    if chat and tokenizer.chat_template is None:
        raise DataError(
            f"model {config.name} has no chat template; use a chat (instruct) model or add one to its folder"
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    return tokenizer


def _cannot_load(config: ModelConfig, error: Exception) -> str:
    first = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    return (
        f"model {config.name!r} cannot be loaded ({first}); check model.name, "
        "or download it once where there is a network and give its folder"
    )


def model_type(config: ModelConfig) -> str:
    """What the model's configuration calls its architecture. Raises DataError when it cannot be found or read."""
    from transformers import AutoConfig

    try:
        return str(AutoConfig.from_pretrained(source_of(config), revision=config.revision).model_type)
    except (OSError, ValueError) as error:
        raise DataError(_cannot_load(config, error)) from None


def empty_model(config: ModelConfig) -> PreTrainedModel:
    """The model's shapes in the dtype it would be loaded in, on torch's meta device; no weights are read.

    Raises:
        ConfigError: the device is not there.
        DataError: the model's configuration cannot be found or read.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    dtype = _dtype(config, device_of(config))
    try:
        shape = AutoConfig.from_pretrained(source_of(config), revision=config.revision)
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(shape, dtype=dtype, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise DataError(_cannot_load(config, error)) from None
    return model


@functools.lru_cache(maxsize=1)
def load_model(config: ModelConfig) -> LoadedModel:
    """``read_model`` of a base model, once per process."""
    return read_model(config)


def read_model(config: ModelConfig, *, chat: bool = True) -> LoadedModel:
    """Load a model; remote code is never run and only safetensors are read.

    Args:
        config: Which, and how.
        chat: Whether it must have a chat template.

    Raises:
        ConfigError: the device is not there.
        DataError: the model cannot be found or read.
    """
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(config, chat=chat)
    device = device_of(config)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            source_of(config),
            revision=config.revision,
            dtype=_dtype(config, device),
            use_safetensors=True,
            trust_remote_code=False,
            quantization_config=_quantization(config),
            attn_implementation=None if config.attention == "auto" else config.attention,
        )
    except (OSError, ValueError, ImportError) as error:
        raise DataError(_cannot_load(config, error)) from None
    if config.quantization == "none":
        model = model.to(device)  # type: ignore[arg-type]  # transformers wraps `to` without its types
    model.eval()
    fingerprint = {
        "base": weights_hash(model),
        "tokenizer": sha256_bytes(tokenizer.backend_tokenizer.to_str().encode()),
        "template": sha256_bytes(str(tokenizer.chat_template).encode()),
    }
    return LoadedModel(model, tokenizer, fingerprint, config)
