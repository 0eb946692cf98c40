"""Constitutions as others have published them, read as documents of ours.

Two layouts, both JSON; in both every principle is a general one, since neither knows hazard categories:

- ``{"constitutions": [{"critic", "revision"}], "system_chat": [[{"role", "content"}, ...], ...]}``, as the
  constitutional-ai example of huggingface/llm-swarm has it. The last six turns of a chat (request, answer, critic
  request, critique, revision request, revision) become a few-shot example of every principle, as they are there.
- ``{"harmful0": {"prompt": [critique request], "edit_request": revision request}, ...}``, as
  ``CritiqueRevisionInstructions.json`` of anthropics/ConstitutionalHarmlessnessPaper has it. The marks around the
  requests ("CritiqueRequest:" before, "Critique:" after) are taken off.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, RootModel

from safefed.constitution.principles import Text

_MARKS = re.compile(r"\A\s*(?:Critique|Revision) ?Request:|(?:Critique|Revision):\s*\Z")
_TURNS = ("user", "assistant") * 3


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Pair(_Part):
    critic: Text
    revision: Text


class _Turn(_Part):
    role: Literal["user", "assistant"]
    content: Text


def _exchange(chat: list[_Turn]) -> list[_Turn]:
    if tuple(turn.role for turn in chat[-len(_TURNS) :]) != _TURNS:
        raise ValueError("must end with request, answer, critic request, critique, revision request and revision")
    return chat[-len(_TURNS) :]


class CriticLayout(_Part):
    """Pairs of a critic and a revision request, and chats that show both."""

    constitutions: Annotated[list[_Pair], Field(min_length=1)]
    system_chat: list[Annotated[list[_Turn], AfterValidator(_exchange)]] = []

    def document(self, name: str) -> dict[str, Any]:
        """This constitution in our own layout."""
        examples = [_example(*(turn.content for turn in chat)) for chat in self.system_chat]
        pairs = enumerate(self.constitutions, 1)
        return _document(name, [_principle(f"principle-{n}", p.critic, p.revision, examples) for n, p in pairs])


def _one(value: Any) -> Any:
    """The text of a list that holds one, without its marks."""
    text = value[0] if isinstance(value, list) and len(value) == 1 else value
    return _MARKS.sub("", text) if isinstance(text, str) else text


class _Entry(_Part):
    prompt: Annotated[Text, BeforeValidator(_one)]
    edit_request: Annotated[Text, BeforeValidator(_one)]


class EditRequestLayout(RootModel[dict[str, _Entry]]):
    """Critique and revision requests by id."""

    def document(self, name: str) -> dict[str, Any]:
        """This constitution in our own layout."""
        return _document(name, [_principle(id_, e.prompt, e.edit_request, []) for id_, e in self.root.items()])


def layout_of(tree: Any) -> type[CriticLayout] | type[EditRequestLayout] | None:
    """The published layout that ``tree`` is in, by its keys; None for our own."""
    if not isinstance(tree, dict):
        return None
    if "constitutions" in tree:
        return CriticLayout
    entries = list(tree.values())
    return EditRequestLayout if any(isinstance(e, dict) and "edit_request" in e for e in entries) else None


def _document(name: str, principles: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": name, "principles": principles}


def _principle(id_: str, critique: str, revision: str, examples: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "id": id_,
        "title": id_,
        "hazards": "all",
        "critique_request": critique,
        "revision_request": revision,
        "examples": examples,
    }


def _example(
    request: str, answer: str, critique_request: str, critique: str, revision_request: str, revision: str
) -> dict[str, str]:
    return {
        "request": request,
        "answer": answer,
        "critique_request": critique_request,
        "critique": critique,
        "revision_request": revision_request,
        "revision": revision,
    }
