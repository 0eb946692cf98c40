"""The row formats: which columns tell them, and how a row becomes a conversation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from safefed.records import Message
from safefed.sources.rows import RowError
from safefed.sources.turns import OPENAI, SHAREGPT, cell, hh_turns, messages_of, optional_cell, turns

Fields = Mapping[str, Any]
Convert = Callable[[Fields], list[Message]]


@dataclass(frozen=True, slots=True)
class Format:
    """One way to read a row.

    Args:
        name: As the ``format`` option spells it.
        needs: The columns that tell it; a row fits when it has all of them.
        mapping: What becomes what, for the user to see.
        convert: A row's columns to its turns; raises RowError.
        prompt: The column that holds the prompt as text, "" if it is elsewhere.
        when: What a row must be besides having the columns (types only, never text).
        rejected: Of preference data, a row's columns to the turns of the side that is not wanted; None elsewhere.
    """

    name: str
    needs: tuple[str, ...]
    mapping: Mapping[str, str]
    convert: Convert
    prompt: str = ""
    when: Callable[[Fields], bool] = field(default=lambda _: True)
    rejected: Convert | None = None

    def fits(self, fields: Fields) -> bool:
        """Whether a row has this format's columns."""
        return all(column in fields for column in self.needs) and self.when(fields)


def _instruction(context: str, response: str) -> Convert:
    def convert(fields: Fields) -> list[Message]:
        parts = [cell(fields, "instruction"), optional_cell(fields, context)]
        prompt = "\n\n".join(part for part in parts if part.strip())
        return [Message("user", prompt), Message("assistant", cell(fields, response))]

    return convert


def _instruction_format(name: str, context: str, response: str, *needs: str) -> Format:
    mapping = {"prompt": f"instruction + {context}", "response": response}
    return Format(name, ("instruction", *needs, response), mapping, _instruction(context, response), "instruction")


def _completion_format(response: str) -> Format:
    def convert(fields: Fields) -> list[Message]:
        if response not in fields or "prompt" not in fields:
            raise RowError("missing_key")
        return messages_of(fields["prompt"], "user") + messages_of(fields[response], "assistant")

    mapping = {"prompt": "prompt", "response": response}
    return Format("prompt-completion", ("prompt", response), mapping, convert, "prompt")


def _preference(fields: Fields, side: str = "chosen") -> list[Message]:
    """One side, which is the answer alone, or the whole conversation with the prompt in it."""
    if "chosen" not in fields or "rejected" not in fields:
        raise RowError("missing_key")
    prompt = messages_of(fields["prompt"], "user") if "prompt" in fields else []
    answer = messages_of(fields[side], "assistant")
    whole = bool(answer) and answer[0].role != "assistant" and answer[: len(prompt)] == prompt
    return answer if whole else prompt + answer


def _hh(fields: Fields, side: str = "chosen") -> list[Message]:
    if "rejected" not in fields:
        raise RowError("missing_key")
    return hh_turns(cell(fields, side))


def _listed(column: str, role: str, content: str) -> Convert:
    def convert(fields: Fields) -> list[Message]:
        if column not in fields:
            raise RowError("missing_key")
        return turns(fields[column], role, content, OPENAI if role == "role" else SHAREGPT)

    return convert


_CHOSEN = {"prompt": "prompt, or the turns of chosen before the last", "response": "chosen", "pair": "over rejected"}
_REJECTED, _REJECTED_HH = functools.partial(_preference, side="rejected"), functools.partial(_hh, side="rejected")

FORMATS: tuple[Format, ...] = (
    _instruction_format("alpaca", "input", "output"),
    _instruction_format("gpteacher", "input", "response", "input"),
    _instruction_format("dolly", "context", "response", "context"),
    Format("messages", ("messages",), {"messages": "messages"}, _listed("messages", "role", "content")),
    Format("sharegpt", ("conversations",), {"messages": "conversations"}, _listed("conversations", "from", "value")),
    _completion_format("completion"),
    _completion_format("response"),
    Format("preference", ("prompt", "chosen", "rejected"), _CHOSEN, _preference, "prompt", rejected=_REJECTED),
    Format(
        "preference",
        ("chosen", "rejected"),
        _CHOSEN,
        _preference,
        when=lambda fields: "prompt" not in fields and isinstance(fields["chosen"], list),
        rejected=_REJECTED,
    ),
    Format(
        "hh",
        ("chosen", "rejected"),
        {"messages": "chosen", "pair": "over rejected"},
        _hh,
        when=lambda fields: "prompt" not in fields and isinstance(fields["chosen"], str),
        rejected=_REJECTED_HH,
    ),
)

_TELLING = frozenset(column for each in FORMATS for column in each.needs)


@functools.cache
def _with(columns: frozenset[str]) -> list[Format]:
    return [each for each in FORMATS if columns.issuperset(each.needs)]


def fitting(fields: Fields) -> list[Format]:
    """The formats whose columns a row has; as ``Format.fits``, for every row of a file."""
    return [each for each in _with(frozenset(_TELLING.intersection(fields))) if each.when(fields)]


def columns_format(prompt: str, response: str | None) -> Format:
    """The explicit mapping of the ``prompt`` and ``response`` options; without ``response``, rows are bare prompts."""

    def convert(fields: Fields) -> list[Message]:
        question = Message("user", cell(fields, prompt))
        return [question] if response is None else [question, Message("assistant", cell(fields, response))]

    needs = (prompt,) if response is None else (prompt, response)
    mapping = {"prompt": prompt} if response is None else {"prompt": prompt, "response": response}
    return Format("columns", needs, mapping, convert, prompt)
