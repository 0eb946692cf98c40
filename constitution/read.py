"""The YAML and JSON files that hold constitutions, as plain values."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from safefed.errors import ConfigError

SHIPPED = ("default", "minimal", "helpful-first")
"""The constitutions that come with safefed."""


def read_tree(name_or_path: str) -> Any:
    """What a document holds. Raises ConfigError: it cannot be read, or is not valid."""
    text = _text(name_or_path)
    kind = "JSON" if name_or_path.endswith(".json") else "YAML"
    try:
        return json.loads(text) if kind == "JSON" else _yaml(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"constitution {name_or_path} is not valid {kind}: {error}") from None


def _text(name_or_path: str) -> str:
    if name_or_path in SHIPPED:
        return files("safefed.constitution").joinpath(f"{name_or_path}.yaml").read_text("utf-8")
    try:
        return Path(name_or_path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            f"constitution {name_or_path} cannot be read: {reason}; give {', '.join(SHIPPED)}, or a YAML or JSON file"
        ) from None


def _yaml(text: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Refuses a key that stands twice: of two principles with one forgotten dash, YAML keeps the last."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            for before, key in enumerate(keys):
                if key.value in [other.value for other in keys[:before]]:
                    raise yaml.MarkedYAMLError(problem=f"{key.value!r} stands twice", problem_mark=key.start_mark)
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(line + str(getattr(error, "problem", error))) from None
