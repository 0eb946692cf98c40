"""What every part of a configuration is made of, and how it is checked."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from safefed.errors import ConfigError

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]

AnySection = TypeVar("AnySection", bound="Section")


class Section(BaseModel):
    """A part of the configuration: closed schema, immutable, no silent type conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _problem(problem: ErrorDetails) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "(whole file)"
    if problem["type"] != "extra_forbidden":
        return f"  {key}: {problem['msg'].removeprefix('Value error, ')}"
    names = {name for section in Section.__subclasses__() for name in section.model_fields}
    near = get_close_matches(str(problem["loc"][-1]), names, n=1)
    return f"  {key}: unknown key" + (f"; did you mean {near[0]}?" if near else "")


def parse(schema: type[AnySection], tree: Mapping[str, Any], where: str) -> AnySection:
    """Check ``tree`` against ``schema``.

    Raises:
        ConfigError: every problem at once, each with its key.
    """
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        problems = "\n".join(map(_problem, error.errors(include_url=False, include_input=False)))
        raise ConfigError(f"{where} has {error.error_count()} problem(s):\n{problems}") from None


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``above`` laid over ``below``; sections are merged, except ``arms``, which are replaced as a whole."""
    both = dict(below)
    for key, value in above.items():
        merges = isinstance(value, dict) and isinstance(both.get(key), dict) and key != "arms"
        both[key] = laid_over(both[key], value) if merges else value
    return both
