"""What a family of guard models is asked, and how its answers are read: one JSON file per family in ``guards/``."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from safefed.config import ModelConfig, Section, parse
from safefed.errors import ConfigError
from safefed.records import content_hash
from safefed.store import read_json

FITTED = "safefed-guard.json"
"""Stands in the folder of a guard that ``safefed fit-filter`` made."""

GUARDS = Path(__file__).parent / "guards"
_CODES = re.compile(r"^([A-Z]\d{1,2}):", re.MULTILINE)
_ANSWER = re.compile(r"[A-Z]\d{1,2}(?:\s*,\s*[A-Z]\d{1,2})*")


@dataclass(frozen=True, slots=True)
class Question:
    """One thing that a family's models are asked about an exchange.

    Attributes:
        axis: What the answer fills: "prompt", "response" or "refusal".
        reads: The request alone ("ask"), request and answer ("exchange"), or the answer too if there is one ("either").
        words: The answer that counts for the axis, and the one that counts against it.
        lead: What the model's answer says before the word; ``{axis}`` stands for the word found for an earlier axis.
        guideline: The principle that the question is about, for families that are asked about one at a time.
        hazard: S1..S14 if a violation of ``guideline`` is one.
    """

    axis: str
    reads: Literal["ask", "exchange", "either"]
    words: tuple[str, str]
    lead: str = ""
    guideline: str = ""
    hazard: str | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """A family of guard models.

    Attributes:
        family: Its name, as in ``guard:FAMILY=PATH``.
        model_types: The ``model_type`` of its models' configurations.
        template: Its published prompt (Jinja), for a model that ships no template of its own.
        own_template: Whether the chat template that a model ships is the family's prompt.
        opening: What the model may write before the word that decides.
        history: Whether earlier turns are part of the prompt.
        categories: The family's own categories: code -> {"name", "hazard" (S1..S14)}.
        markers: Text of the prompt, other than control tokens, that must not come from a sample.
        questions: Asked in this order.
        digest: Hash of the whole file.
    """

    family: str
    model_types: tuple[str, ...]
    template: str
    own_template: bool
    opening: str
    history: bool
    categories: Mapping[str, Mapping[str, str]]
    markers: tuple[str, ...]
    questions: tuple[Question, ...]
    digest: str


@functools.cache
def profiles() -> Mapping[str, Profile]:
    """Every family there is, by name."""
    found = [_profile(read_json(path)) for path in sorted(GUARDS.glob("*.json"), key=lambda path: path.stem)]
    return {profile.family: profile for profile in found}


def _profile(raw: Mapping[str, Any]) -> Profile:
    return Profile(
        family=raw["family"],
        model_types=tuple(raw["model_types"]),
        template=raw["template"],
        own_template=raw["own_template"],
        opening=raw["opening"],
        history=raw["history"],
        categories=raw["categories"],
        markers=tuple(raw["markers"]),
        questions=tuple(map(_question, raw["questions"])),
        digest=content_hash(dict(raw)),
    )


def _question(raw: Mapping[str, Any]) -> Question:
    words = (raw["counts"], raw["else"])
    optional = {key: raw[key] for key in ("lead", "guideline", "hazard") if key in raw}
    return Question(raw["axis"], raw["reads"], words, **optional)


def read_argument(argument: str | None) -> tuple[str | None, ModelConfig]:
    """The family (if named) and the model of ``[FAMILY=]PATH_OR_HUB_ID[@REVISION][#KEY=VALUE,...]``.

    Raises:
        ConfigError: no model, an unknown family, or a key that is none of ``dtype``, ``quantization``, ``attention``
            and ``device``.
    """
    known = ", ".join(profiles())
    model, _, options = (argument or "").partition("#")
    named, equals, rest = model.partition("=")
    family = named if equals and named in profiles() else None
    if equals and family is None and not Path(model).is_dir():
        raise ConfigError(f"there is no guard family {named!r}; choose from {known}")
    model = rest if family else model
    if not model:
        raise ConfigError(f"guard needs a model: guard:PATH, guard:HUB_ID or guard:FAMILY=PATH, with one of {known}")
    name, at, revision = model.rpartition("@")
    tree: dict[str, str] = {"name": name, "revision": revision} if at and not Path(model).is_dir() else {"name": model}
    pairs = dict(option.partition("=")[::2] for option in options.split(",") if option)
    if wrong := sorted(set(pairs) - {"dtype", "quantization", "attention", "device"}):
        raise ConfigError(f"guard:{argument} has the option {wrong[0]!r}; write #dtype=bfloat16,quantization=4bit")
    tree["name"] = str(Path(tree["name"]).expanduser()) if tree["name"].startswith("~") else tree["name"]
    return family, parse(ModelConfig, tree | pairs, f"guard:{argument}")


class Fitted(Section):
    """What a fitted guard's folder says of it: its family, and the axes it was fitted on, which alone are asked."""

    family: str
    axes: Annotated[list[Literal["prompt", "response"]], Field(min_length=1)]


def fitted(config: ModelConfig) -> Fitted | None:
    """What ``safefed-guard.json`` in the model's folder says; None for every other model.

    Raises:
        ConfigError: the file says something impossible.
        IntegrityError: it is no JSON.
    """
    file = Path(config.name) / FITTED
    if not file.is_file():
        return None
    found = parse(Fitted, read_json(file), str(file))
    if found.family not in profiles():
        raise ConfigError(f"{file}: there is no guard family {found.family!r}; choose from {', '.join(profiles())}")
    return found


def narrowed(profile: Profile, axes: Sequence[str]) -> Profile:
    """The family with its questions about ``axes`` alone."""
    questions = tuple(question for question in profile.questions if question.axis in axes)
    return replace(profile, questions=questions, digest=content_hash([profile.digest, sorted(axes)]))


def listed(prompt: str) -> list[str]:
    """The category codes that a rendered prompt lists, in order."""
    return _CODES.findall(prompt)


def choose(model_type: str, codes: Sequence[str], family: str | None, where: str) -> Profile:
    """The family of a model.

    Args:
        model_type: From the model's configuration.
        codes: The categories that the model's own chat template lists, if any.
        family: As the user named it; None to tell it from the other two.
        where: The model, for the message.

    Raises:
        ConfigError: the family cannot be told, or is not that of the model. Two versions of one family share their
            codes but not what they mean, so that a wrong family would be wrong in silence.
    """
    fitting = [profile for profile in profiles().values() if model_type in profile.model_types]
    if codes:
        fitting = [profile for profile in fitting if list(profile.categories) == list(codes)]
    if family is not None and profiles()[family] in fitting:
        return profiles()[family]
    if family is None and len(fitting) == 1:
        return fitting[0]
    known = ", ".join([profile.family for profile in fitting] or profiles())
    listing = f", and its template lists the categories {codes[0]} to {codes[-1]}" if codes else ""
    what = "cannot be told" if family is None else f"is not {family!r}"
    raise ConfigError(
        f"the guard family of {where} {what}: its model_type is {model_type!r}{listing}; "
        f"write guard:FAMILY={where} with one of {known}"
    )


def hazard(answer: str, profile: Profile) -> tuple[str | None, str]:
    """The category that a guard's list begins with, and a note for the verdict's reason.

    Args:
        answer: What follows the deciding word: "S2" or "S2,S5", and maybe more lines.
        profile: Its family.

    Returns:
        The first code that the family knows, as S1..S14; None with "category-unparsed" when ``answer`` is no list of
        codes, and with "category-unknown" when none of its codes is the family's. Several codes are noted in full.
    """
    line = answer.strip().partition("\n")[0].strip()
    if not _ANSWER.fullmatch(line):
        return None, "category-unparsed"
    codes = [code.strip() for code in line.split(",")]
    known = [profile.categories[code]["hazard"] for code in codes if code in profile.categories]
    if not known:
        return None, "category-unknown"
    return known[0], f"categories {','.join(known)}" if len(known) > 1 else ""
