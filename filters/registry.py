"""Filters by name. Adding one = one file, one line here, one test file."""

from __future__ import annotations

import functools
from pathlib import Path

from safefed.components import component
from safefed.errors import ConfigError
from safefed.filters.base import Filter

FILTERS = {
    "linear": "safefed.filters.linear:LinearFilter",
    "embedding": "safefed.filters.embedding:EmbeddingFilter",
    "classifier": "safefed.filters.classifier:ClassifierFilter",
    "detoxify": "safefed.filters.detoxify:DetoxifyFilter",
    "guard": "safefed.filters.guard:GuardFilter",
    "profile": "safefed.filters.profile:ProfiledFilter",
}
GROUP = "safefed.filters"
"""The entry-point group of third-party filters: ``(argument: str | None, *, threshold: float = ...) -> Filter``."""


def load_filter(name: str, *, threshold: float | None = None) -> Filter:
    """The filter called ``name``, loaded once per process.

    A profile is read each time, since ``safefed calibrate`` may have renewed it; the filter in it is loaded once.

    Args:
        name: "linear", "detoxify", or "name:argument": "detoxify:unbiased", "detoxify:/path/to/checkpoint.ckpt",
            "linear:/path/to/folder", "classifier:/path/to/folder", "guard:/path/to/Llama-Guard-3-8B",
            "profile:/path/to/profile.json".
        threshold: The unsafe probability in [0, 1] from which a row is flagged; the filter's own by default.

    Raises:
        ConfigError: no such filter, or a threshold that is not a probability.
    """
    if threshold is not None and not 0.0 <= threshold <= 1.0:
        raise ConfigError(f"the threshold of filter {name!r} is {threshold}; give a probability between 0 and 1")
    return make_filter(name, threshold) if name.startswith("profile:") else _make_once(name, threshold)


def make_filter(name: str, threshold: float | None = None) -> Filter:
    """``load_filter`` without remembering: for one that is used once, or whose files change."""
    kind, _, argument = name.partition(":")
    make = component(kind, FILTERS, GROUP, "filter")
    made: Filter = make(argument or None, **({} if threshold is None else {"threshold": threshold}))
    return made


def files_of(name: str) -> list[Path]:
    """The files on this machine that decide what the filter ``name`` says; none for a model that lies on the hub."""
    kind, _, argument = name.partition(":")
    place, heads = Path(argument.partition("#")[0]), Path(__file__).with_name(f"{kind}.json")
    inside = sorted(place.rglob("*")) if argument and place.is_dir() else [place]
    return [file for file in (heads, *inside) if file.is_file()]


_make_once = functools.lru_cache(maxsize=8)(make_filter)
