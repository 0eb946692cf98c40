"""What this machine has, what is broken, and what an experiment's model needs.

Nothing is changed; of a model on the hub only the configuration is fetched.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from safefed.config import ModelConfig, TrainConfig
from safefed.errors import SafefedError
from safefed.records import Record

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Finding(Record):
    """One line of the diagnosis; "broken" means that safefed cannot do its work, "note" that a part of it cannot."""

    name: str
    state: Literal["ok", "note", "broken"]
    detail: str


def examine(model: ModelConfig, train: TrainConfig) -> list[Finding]:
    """Everything worth knowing, required things first."""
    return [
        Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}"),
        *_packages(),
        *_shipped_files(),
        *_simulation(),
        *_machine(),
        _data(),
        _memory(model, train),
    ]


def _packages() -> Iterator[Finding]:
    for line in metadata.requires("safefed") or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _package(requirement)


def _package(requirement: Requirement) -> Finding:
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return Finding(requirement.name, "broken", f"is missing; run: pip install '{requirement}'")
    if not requirement.specifier.contains(version, prereleases=True):
        return Finding(
            requirement.name, "broken", f"{version} is not {requirement.specifier}; run: pip install '{requirement}'"
        )
    return Finding(requirement.name, "ok", f"{version} ({requirement.specifier})")


def _shipped_files() -> Iterator[Finding]:
    """The embedded weights, read whole; in an installed wheel also against the hashes recorded when it was built."""
    recorded = {Path(str(f.locate())): f.hash.value for f in metadata.files("safefed") or [] if f.hash}
    for package in ("safefed.tiny", "safefed.filters"):
        weights = _weights_of(package)
        problems = [problem for path in weights if (problem := damage(path, recorded.get(path)))]
        if not weights:
            problems = ["no weights are installed; reinstall safefed"]
        found = f"{len(weights)} weight file(s) intact"
        yield Finding(package, "broken" if problems else "ok", "; ".join(problems) or found)


def _weights_of(package: str) -> list[Path]:
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    return sorted(path for folder in folders or () for path in Path(folder).rglob("*.safetensors"))


def damage(path: Path, recorded: str | None = None) -> str | None:
    """What is wrong with a safetensors file, None if nothing is.

    Args:
        path: The file.
        recorded: Its sha-256 as a wheel records it (URL-safe base64, unpadded), where that is known.
    """
    from safetensors import SafetensorError, safe_open

    digest = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
    if recorded and digest != recorded:
        return f"{path} changed since it was installed; reinstall safefed"
    try:
        with safe_open(path, framework="np"):
            return None
    except SafetensorError as error:
        return f"{path} is damaged ({error}); reinstall safefed"


def _simulation() -> Iterator[Finding]:
    needed = 'only engine = "flower:local" needs it'
    if importlib.util.find_spec("ray") is None:
        yield Finding("ray", "note", f"is missing; {needed}: pip install 'safefed[simulation]'")
    elif spaced := [entry for entry in sys.path if " " in entry]:
        yield Finding("ray", "note", f"cannot start workers where a path has a space ({spaced[0]}); {needed}")
    else:
        yield Finding("ray", "ok", f"{metadata.version('ray')} ({needed})")


def _machine() -> Iterator[Finding]:
    from safefed.models import threads_per_process

    yield Finding("cpu", "ok", f"{threads_per_process()} of {os.cpu_count()} CPUs for this process")
    yield Finding("ram", "ok", f"{ram_bytes() / GIB:.1f} GiB")
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Finding("torch", "broken", f"cannot be imported ({error}); reinstall it")
        return
    bf16 = torch.cpu.get_capabilities().get("avx512_bf16", False)
    yield Finding("bf16 on the cpu", "ok", "fast" if bf16 else 'slow: no AVX512-BF16; model.dtype "auto" takes float32')
    if not torch.cuda.is_available():
        yield Finding("gpu", "note", "none that torch can use")
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        dtype = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
        yield Finding(f"gpu {index}", "ok", f"{card.name}, {card.total_memory / GIB:.1f} GiB, {dtype}")


def ram_bytes() -> int:
    """Memory of this machine, or of the container where that has less."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(
        [physical, *_limits((Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")))]
    )


def _limits(files: Iterable[Path]) -> list[int]:
    texts = [path.read_text().strip() for path in files if path.is_file()]
    return [int(text) for text in texts if text.isdigit()]


def _data() -> Finding:
    folder = os.environ.get("SAFEFED_DATA")
    if folder is None:
        return Finding(
            "SAFEFED_DATA", "note", "is not set; benchmarks other than mini and contrasts come from --path or the hub"
        )
    if not Path(folder).is_dir():
        return Finding("SAFEFED_DATA", "note", f"{folder} is not a folder")
    return Finding("SAFEFED_DATA", "ok", folder)


def _memory(model: ModelConfig, train: TrainConfig) -> Finding:
    from safefed.memory import estimate_memory

    name = f"memory for {model.name}"
    try:
        need = estimate_memory(model, train)
    except SafefedError as error:
        return Finding(name, "note", str(error))
    parts = {"weights": need.weights, "adapter": need.adapter, "activations": need.activations + need.logits}
    shares = ", ".join(f"{part} {size / GIB:.2f}" for part, size in parts.items())
    detail = f"roughly {need.total / GIB:.2f} GiB to train one client ({shares}), libraries apart"
    if need.total < device_bytes(model):
        return Finding(name, "ok", detail)
    return Finding(name, "note", f"{detail}: more than there is; lower train.batch_size or max_length, or quantize")


def device_bytes(model: ModelConfig) -> int:
    """Memory of the device the model is loaded on."""
    import torch

    if model.device == "cpu" or not torch.cuda.is_available():
        return ram_bytes()
    return int(torch.cuda.get_device_properties(0).total_memory)
