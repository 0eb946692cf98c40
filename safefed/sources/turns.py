"""Turning values of a row into checked conversations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from safefed.records import Message, Role
from safefed.sources.rows import RowError

OPENAI: Mapping[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}
SHAREGPT: Mapping[str, Role] = {**OPENAI, "human": "user", "gpt": "assistant", "chatgpt": "assistant"}
_HH = re.compile(r"\n\n(Human|Assistant):")
_HH_ROLES: Mapping[str, Role] = {"Human": "user", "Assistant": "assistant"}
_UNSUPPORTED = ("tool_calls", "function_call", "tool_call_id", "images", "image", "audio")


def text_of(value: Any) -> str:
    """``value`` if it is text that every tokenizer and file can hold. Raises RowError."""
    if not isinstance(value, str):
        raise RowError("not_text")
    if "\0" in value:
        raise RowError("nul")
    if not value.isascii():
        _check_surrogates(value)
    return value


def _check_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RowError("lone_surrogate") from None


def cell(fields: Mapping[str, Any], column: str) -> str:
    """The text of a column that every row must have. Raises RowError."""
    if column not in fields:
        raise RowError("missing_key")
    return text_of(fields[column])


def optional_cell(fields: Mapping[str, Any], column: str) -> str:
    """The text of a column that may be absent, null or blank (then ""). Raises RowError."""
    value = fields.get(column)
    return "" if value is None or not text_of(value).strip() else text_of(value)


def turns(value: Any, role_key: str, content_key: str, roles: Mapping[str, Role]) -> list[Message]:
    """The turns of a list of ``{role_key: …, content_key: …}``. Raises RowError."""
    if not isinstance(value, list):
        raise RowError("not_a_list")
    return [_turn(turn, role_key, content_key, roles) for turn in value]


def _turn(turn: Any, role_key: str, content_key: str, roles: Mapping[str, Role]) -> Message:
    if not isinstance(turn, dict) or role_key not in turn or content_key not in turn:
        raise RowError("not_a_turn")
    if any(turn.get(key) for key in _UNSUPPORTED):
        raise RowError("unsupported_turn")
    role = turn[role_key]
    if not isinstance(role, str) or role not in roles:
        raise RowError("unknown_role")
    return Message(roles[role], text_of(turn[content_key]))


def messages_of(value: Any, role: Role) -> list[Message]:
    """One turn of ``role`` where ``value`` is text, its turns where it is a list of messages. Raises RowError."""
    if isinstance(value, list):
        return turns(value, "role", "content", OPENAI)
    return [Message(role, text_of(value))]


def hh_turns(dialogue: str) -> list[Message]:
    r"""The turns of ``\n\nHuman: … \n\nAssistant: …``, each without surrounding blanks. Raises RowError."""
    before, *parts = _HH.split(dialogue)
    if before.strip() or not parts:
        raise RowError("not_a_dialogue")
    return [Message(_HH_ROLES[name], text.strip()) for name, text in zip(parts[::2], parts[1::2], strict=True)]


def checked(messages: Sequence[Message], *, answered: bool = True) -> tuple[Message, ...]:
    """The conversation if it is one: a system turn or none, then user and assistant in turn.

    A blank system turn is left out. With ``answered``, the last turn must be an answer that is not blank.

    Raises:
        RowError: ``no_turns``, ``role_order``, ``no_answer``, ``empty_prompt``, ``empty_answer``.
    """
    if messages and messages[0].role == "system" and not messages[0].content.strip():
        messages = messages[1:]
    dialogue = messages[1:] if messages and messages[0].role == "system" else messages
    if not dialogue:
        raise RowError("no_turns")
    for i, message in enumerate(dialogue):
        if message.role != ("user", "assistant")[i % 2]:
            raise RowError("role_order")
    if answered and dialogue[-1].role != "assistant":
        raise RowError("no_answer")
    for message in dialogue:
        if not message.content.strip():
            raise RowError("empty_prompt" if message.role == "user" else "empty_answer")
    return tuple(messages)
