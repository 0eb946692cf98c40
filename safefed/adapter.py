"""LoRA state: in and out of a model, in and out of safetensors, always float32 and in one canonical key order."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from safefed.config import LoraSettings
from safefed.errors import DataError, IntegrityError
from safefed.models import LoadedModel, source_of
from safefed.records import content_hash
from safefed.store import MANIFEST, read_json, read_manifest, sha256_bytes, write_atomic, write_json, write_manifest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from peft import LoraConfig, PeftModel

    State = dict[str, NDArray[np.float32]]

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter: its settings and its tensors (name -> float32 array, names sorted)."""

    lora: LoraSettings
    state: State


def state_hash(state: Mapping[str, NDArray[np.float32]]) -> str:
    """sha-256 over names, shapes and bytes of ``state``, whatever its key order."""
    return content_hash([[k, list(v.shape), sha256_bytes(v.tobytes())] for k, v in sorted(state.items())])


def peft_config(lora: LoraSettings, task: Literal["CAUSAL_LM", "SEQ_CLS"] = "CAUSAL_LM", **options: Any) -> LoraConfig:
    """``lora`` in peft's words; ``options`` are further fields of ``LoraConfig``."""
    from peft import LoraConfig, TaskType

    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        task_type=TaskType(task),
        **options,
    )


@contextmanager
def old_names() -> Iterator[None]:
    """Hide one warning: peft and trl still say gradient_checkpointing, which transformers 5.23 began to rename."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*", category=FutureWarning)
        yield


@contextmanager
def adapted(loaded: LoadedModel, adapter: Adapter | LoraSettings, *, seed: int = 0) -> Iterator[PeftModel]:
    """The base model with an adapter in it; afterwards the base is as it was, whatever happened inside.

    Args:
        loaded: The base model; it is changed in place while the context lasts.
        adapter: An adapter, or only its settings for a fresh one (A random from ``seed``, B zero).
        seed: Seeds a fresh adapter's A matrices.

    Raises:
        DataError: the adapter's tensors do not fit this base model.
    """
    import torch
    from peft import get_peft_model

    lora = adapter.lora if isinstance(adapter, Adapter) else adapter
    with torch.random.fork_rng(), old_names():
        torch.manual_seed(seed)
        model = get_peft_model(loaded.model, peft_config(lora))
    try:
        if isinstance(adapter, Adapter):
            put_state(model, adapter.state)
        yield model
    finally:
        model.unload()
        if hasattr(loaded.model, "peft_config"):
            del loaded.model.peft_config
        loaded.model.eval()


def merge_adapter(loaded: LoadedModel, adapter: Adapter) -> None:
    """Add ``adapter`` to the weights of ``loaded``, in place and for good; its ``fingerprint`` is stale then.

    Raises:
        DataError: the adapter does not fit, or the sum is not finite.
    """
    with adapted(loaded, adapter) as model:
        try:
            model.merge_adapter(safe_merge=True)
        except ValueError as error:
            raise DataError(
                f"the adapter cannot be merged into {loaded.config.name} ({error}); train it anew"
            ) from None


def take_state(model: PeftModel) -> State:
    """A copy of the adapter's tensors, float32, names sorted."""
    from peft import get_peft_model_state_dict

    tensors = get_peft_model_state_dict(model)
    return {name: tensors[name].detach().float().cpu().numpy().copy() for name in sorted(tensors)}


def put_state(model: PeftModel, state: Mapping[str, NDArray[np.float32]]) -> None:
    """Replace the adapter's tensors by ``state``.

    Raises:
        DataError: names or shapes are not exactly those of the model's adapter.
    """
    import torch
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    expected = {name: tuple(t.shape) for name, t in get_peft_model_state_dict(model).items()}
    given = {name: tuple(a.shape) for name, a in state.items()}
    if expected != given:
        wrong = sorted(n for n in expected.keys() | given.keys() if expected.get(n) != given.get(n))
        raise DataError(
            f"the adapter does not fit this model: {len(wrong)} of {len(expected)} tensors differ by name or shape "
            f"(first: {wrong[0]}); use the base model and LoRA settings it was trained with"
        )
    set_peft_model_state_dict(model, {name: torch.from_numpy(array.copy()) for name, array in state.items()})


def fresh_adapter(loaded: LoadedModel, lora: LoraSettings, seed: int) -> Adapter:
    """A new adapter for ``loaded`` whose product BA is zero."""
    with adapted(loaded, lora, seed=seed) as model:
        return Adapter(lora, take_state(model))


def save_adapter(adapter: Adapter, loaded: LoadedModel, folder: Path, **facts: Any) -> None:
    """Write ``folder`` so that plain ``PeftModel.from_pretrained(base, folder)`` loads it; the manifest comes last."""
    from safetensors.numpy import save

    write_atomic(folder / WEIGHTS, save(adapter.state, metadata={"format": "pt"}))
    config = peft_config(adapter.lora, base_model_name_or_path=source_of(loaded.config)).to_dict()
    write_json(folder / CONFIG, json.loads(json.dumps(config, default=sorted)))
    write_manifest(
        folder,
        [WEIGHTS, CONFIG],
        adapter=state_hash(adapter.state),
        base_model=loaded.config.name,
        fingerprint=loaded.fingerprint,
        lora=adapter.lora.model_dump(),
        **facts,
    )


def read_adapter(folder: Path, loaded: LoadedModel) -> Adapter:
    """Read a LoRA adapter that safefed or peft wrote; only safetensors, never pickles.

    Raises:
        DataError: not a LoRA adapter, or one for another base model.
        IntegrityError: a file changed since it was written, or the weights are not safetensors.
    """
    if not (folder / CONFIG).is_file():
        raise DataError(f"{folder} holds no {CONFIG}; give the folder of a LoRA adapter, such as runs/NAME/ARM/adapter")
    if not (folder / WEIGHTS).is_file():
        raise IntegrityError(f"{folder} holds no {WEIGHTS}; safefed reads safetensors only, convert the adapter first")
    if (folder / MANIFEST).exists():
        _check_fingerprint(folder, loaded)
    return Adapter(_read_lora(folder), _read_state(folder / WEIGHTS))


def _check_fingerprint(folder: Path, loaded: LoadedModel) -> None:
    recorded = (read_manifest(folder) or {}).get("fingerprint", {})
    for part, digest in recorded.items():
        if loaded.fingerprint.get(part) != digest:
            raise DataError(
                f"the adapter in {folder} was trained on another base model: its {part} is {digest[:12]}…, "
                f"{loaded.config.name!r} has {loaded.fingerprint.get(part, 'none')[:12]}…; give that base model"
            )


def _read_lora(folder: Path) -> LoraSettings:
    config = read_json(folder / CONFIG)
    if config.get("peft_type") != "LORA":
        raise DataError(f"{folder / CONFIG} describes a {config.get('peft_type')} adapter; only LORA is supported")
    targets = config["target_modules"]
    return LoraSettings(
        rank=config["r"],
        alpha=config["lora_alpha"],
        dropout=float(config.get("lora_dropout", 0.0)),
        targets=targets if targets == "all-linear" else sorted(targets),
    )


def _read_state(path: Path) -> State:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise IntegrityError(f"{path} is not a readable safetensors file ({error})") from None
    return {name: tensors[name].float().numpy() for name in sorted(tensors)}


@contextmanager
def with_adapter(loaded: LoadedModel, adapter: Adapter) -> Iterator[LoadedModel]:
    """``loaded`` with ``adapter`` in it, for as long as the context lasts; its fingerprint gains "adapter"."""
    with adapted(loaded, adapter) as model:
        fingerprint = {**loaded.fingerprint, "adapter": state_hash(adapter.state)}
        yield replace(loaded, model=model, fingerprint=fingerprint)


@contextmanager
def load_adapter(loaded: LoadedModel, folder: Path) -> Iterator[LoadedModel]:
    """``with_adapter`` for an adapter on disk; raises what ``read_adapter`` raises."""
    with with_adapter(loaded, read_adapter(folder, loaded)) as model:
        yield model
