"""What is taken from the body of a chat completion."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from safefed.generate import Generation, Tokens
from safefed.records import Finish

_FINISHES: dict[str | None, Finish] = {"stop": "stop", "length": "length"}


class _Message(BaseModel):
    content: str


class _Choice(BaseModel):
    message: _Message
    finish_reason: str


class _Completion(BaseModel):
    """What is needed of a chat completion; servers differ in the rest."""

    choices: Annotated[list[_Choice], Field(min_length=1)]
    usage: Any = None


class _Details(BaseModel):
    cached_tokens: Annotated[int, Field(ge=0)] | None = None


class _Usage(BaseModel):
    prompt_tokens: Annotated[int, Field(ge=0)]
    completion_tokens: Annotated[int, Field(ge=0)]
    prompt_tokens_details: _Details | None = None


def read_answer(body: bytes) -> Generation | None:
    """The answer in the body of a response, None if there is none that can be used."""
    try:
        completion = _Completion.model_validate_json(body)
    except ValidationError:
        return None
    choice = completion.choices[0]
    finish = _FINISHES.get(choice.finish_reason)
    return Generation(choice.message.content.strip(), finish, _tokens(completion.usage)) if finish else None


def _tokens(usage: Any) -> Tokens | None:
    try:
        counted = _Usage.model_validate(usage)
    except ValidationError:
        return None
    details = counted.prompt_tokens_details or _Details()
    return Tokens(counted.prompt_tokens, details.cached_tokens or 0, counted.completion_tokens)
