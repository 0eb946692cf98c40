"""What is wrong with a document, in lines that a person who wrote it can follow."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

AnyModel = TypeVar("AnyModel", bound=BaseModel)

UNKNOWN = "unknown key"

_SAID = {
    "missing": "is missing",
    "extra_forbidden": UNKNOWN,
    "unexpected_keyword_argument": UNKNOWN,
    "model_type": "must be a mapping",
    "dataclass_type": "must be a mapping",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "too_short": "must not be empty",
}


def checked(schema: type[AnyModel], tree: Any) -> tuple[AnyModel | None, list[str]]:
    """``tree`` as a ``schema``, or None and every problem: where it is (numbers count from 1), and what it is."""
    try:
        return schema.model_validate(tree), []
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        return None, [_place(tree, problem["loc"]) + _said(problem, schema) for problem in problems]


def _said(problem: ErrorDetails, schema: type[BaseModel]) -> str:
    said = _SAID.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    near = get_close_matches(str(problem["loc"][-1]), _keys(schema), n=1) if said == UNKNOWN else []
    return said + (f"; did you mean {near[0]}?" if near else "")


def _keys(schema: type[BaseModel]) -> set[str]:
    """Every key that a document may have anywhere."""
    tree = schema.model_json_schema()
    return {key for part in (tree, *tree.get("$defs", {}).values()) for key in part.get("properties", {})}


def _place(tree: Any, loc: tuple[int | str, ...]) -> str:
    """("principles", 2, "title") as "principle 3 (its id): title: "."""
    words: list[str] = []
    for part in loc:
        if isinstance(part, int) and isinstance(tree, list):
            tree = tree[part]
            words[-1] = f"{words[-1].removesuffix('s')} {part + 1}{_id(tree)}"
        else:
            tree = tree.get(part) if isinstance(tree, dict) else None
            words.append(str(part))
    return ": ".join(words or ["the file"]) + ": "


def _id(item: Any) -> str:
    return f" ({item['id']})" if isinstance(item, dict) and isinstance(item.get("id"), str) else ""
