"""Reading TOML files: what one ``extends``, paths, variables, and values given on the command line."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safefed.config.experiment import ExperimentConfig, NodeConfig
from safefed.config.sections import laid_over, parse
from safefed.errors import ConfigError


def _set_path(tree: dict[str, Any], assignment: str) -> None:
    key, separator, text = assignment.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"--set {assignment!r} has no '='; write --set train.rounds=5")
    try:
        value = tomllib.loads(f"value = {text}")["value"] if "\n" not in text else text
    except (tomllib.TOMLDecodeError, RecursionError):
        value = text
    *parents, leaf = key.strip().split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"--set {key}: {parent!r} is not a section")
    tree[leaf] = value


def _read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises ConfigError when it is missing, unreadable or malformed."""
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; give a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def _expand(path: str, base: Path, waits: bool) -> str:
    """``path`` with ``$NAME`` replaced and made absolute against ``base``.

    With an unset name in it, it stays as it is if it ``waits``, since another file may replace it; else ConfigError.
    """
    unset = [name for found in _VARIABLE.findall(path) if (name := "".join(found)) not in os.environ]
    if unset and waits:
        return path
    if unset:
        raise ConfigError(f"{path} uses ${unset[0]}, which is not set; run: export {unset[0]}=/path/to/data")
    expanded = _VARIABLE.sub(lambda found: os.environ[found[1] or found[2]], path)
    try:
        return str(base / Path(expanded).expanduser())
    except RuntimeError:
        raise ConfigError(f"{path} names a home folder that does not exist; write the whole path") from None


def _resolve(value: Any, base: Path, key: str = "", *, waits: bool = False) -> Any:
    if isinstance(value, dict) and key == "where":  # column names, which may be "path" or "file"
        return value
    if isinstance(value, dict):
        return {k: _resolve(v, base, "path" if key == "paths" else k, waits=waits) for k, v in value.items()}
    if isinstance(value, list):
        return [_resolve(item, base, key, waits=waits) for item in value]
    if not isinstance(value, str):
        return value
    kind, colon, argument = value.partition(":") if key == "filter" else ("", "", value)
    maybe = (key in ("name", "constitution") or colon) and argument.startswith(("./", "../", "~", "/", "$"))
    return kind + colon + _expand(argument, base, waits) if maybe or key in ("path", "file", "work") else value


def _read_extended(path: Path, seen: Sequence[Path] = ()) -> dict[str, Any]:
    """A TOML file over the one that it ``extends``, whose values it overrides key by key; its paths are absolute."""
    path = path.resolve()
    if path in seen:
        raise ConfigError(f"{path} extends itself: {' -> '.join(p.name for p in (*seen, path))}")
    tree = _read_toml(path)
    parent = tree.pop("extends", None)
    own: dict[str, Any] = _resolve(tree, path.parent, waits=True)
    if parent is None:
        return own
    if not isinstance(parent, str):
        raise ConfigError(f"{path}: extends must be the path of one TOML file")
    below = Path(_expand(parent, path.parent, waits=False))
    return laid_over(_read_extended(below, (*seen, path)), own)


def load_experiment(path: Path | None = None, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read an experiment; without ``path``, the embedded default.

    Args:
        path: A TOML file; with ``extends = "OTHER.toml"`` at its top, only what differs from that one.
        overrides: ``a.b=value`` assignments in TOML syntax, applied last.

    Raises:
        ConfigError: with the file and every offending key.
    """
    base = path.resolve().parent if path else Path.cwd()
    tree = _read_extended(path) if path else {}
    for assignment in overrides:
        _set_path(tree, assignment)
    return parse(ExperimentConfig, _resolve(tree, base), str(path or "the default experiment with --set"))


def load_node(path: Path) -> NodeConfig:
    """Read a client's ``client.toml``. Raises ConfigError."""
    return parse(NodeConfig, _resolve(_read_toml(path), path.resolve().parent), str(path))
