"""Components by name: one literal table each, and entry points for what others add."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from safefed.errors import ConfigError


def component(name: str, table: Mapping[str, str], group: str, what: str) -> Any:
    """The object that ``table`` (name -> "module:attribute") or the entry-point ``group`` holds under ``name``.

    Built-in names win over entry points of the same name.

    Raises:
        ConfigError: there is no such ``what``; the message lists those there are, and names the closest one.
    """
    if name in table:
        module, _, attribute = table[name].partition(":")
        return getattr(import_module(module), attribute)
    others = entry_points(group=group)
    if name in others.names:
        return others[name].load()
    known = sorted({*table, *others.names})
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise ConfigError(f"there is no {what} called {name!r}; {hint}choose from {', '.join(known)}")
