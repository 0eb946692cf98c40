"""The data that flows through safefed: small frozen values that round-trip through JSON.

Standard library only, so that any part of the project can import them at no cost.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii
from typing import Any, ClassVar, Literal, Self

Role = Literal["system", "user", "assistant"]
Action = Literal["keep", "revise", "drop", "error"]
Label = Literal["refused", "harmless", "complied", "degenerate", "unscored"]
Finish = Literal["stop", "length", "error"]

ROLES: tuple[Role, ...] = ("system", "user", "assistant")
LABELS: tuple[Label, ...] = ("refused", "harmless", "complied", "degenerate", "unscored")

HAZARDS: Mapping[str, str] = {
    "S1": "violent crimes",
    "S2": "non-violent crimes",
    "S3": "sex-related crimes",
    "S4": "child sexual exploitation",
    "S5": "defamation",
    "S6": "specialized advice",
    "S7": "privacy",
    "S8": "intellectual property",
    "S9": "indiscriminate weapons",
    "S10": "hate",
    "S11": "suicide and self-harm",
    "S12": "sexual content",
    "S13": "elections",
    "S14": "code interpreter abuse",
}
"""The MLCommons hazard taxonomy, as Llama Guard 3 numbers it."""


def canonical_json(value: Any) -> str:
    """One spelling per value: sorted keys, no spaces, ASCII. Raises ValueError on NaN and infinities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def content_hash(value: Any) -> str:
    """Hex sha-256 of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value]


class Record:
    """JSON in and out for the flat record dataclasses below."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Any]]

    def fields(self) -> dict[str, Any]:
        """The fields by name, as they are."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def __reduce__(self) -> tuple[Any, ...]:
        """How a record crosses to another process: twice as fast as what dataclasses do."""
        return type(self), tuple([getattr(self, name) for name in self.__dataclass_fields__])

    def to_json(self) -> dict[str, Any]:
        """This record as plain dicts, lists and scalars."""
        # Not dataclasses.asdict: its deep copies took two thirds of the time of writing a data set.
        return {name: _plain(value) for name, value in self.fields().items()}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """The record that ``to_json`` wrote. Raises TypeError on missing or unknown fields."""
        return cls(**row)


@dataclass(frozen=True, slots=True)
class Message(Record):
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Sample(Record):
    """One training row: a conversation, where it came from, and what is known of it.

    Args:
        messages: The turns, in order.
        source: The file or data set the row came from.
        meta: Anything else. ``meta["unsafe"]`` (bool) is the row's own label where it has one, ``meta["rejected"]``
            (text) the answer that a row of preference data does not want.
        id: sha-256 of the canonical messages; computed when empty, checked when given.

    Raises:
        ValueError: ``id`` is given and is not the hash of ``messages``.
    """

    messages: tuple[Message, ...]
    source: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""

    def __post_init__(self) -> None:
        expected = _hash_of(self.messages)
        if self.id and self.id != expected:
            raise ValueError(f"sample id {self.id[:12]}… is not the hash of its messages ({expected[:12]}…)")
        object.__setattr__(self, "id", expected)

    def fields(self) -> dict[str, Any]:
        """See Record; the messages are dicts already, which is what is written most."""
        messages = [{"role": message.role, "content": message.content} for message in self.messages]
        return {"messages": messages, "source": self.source, "meta": self.meta, "id": self.id}

    def __reduce__(self) -> tuple[Any, ...]:
        """See Record; the id is not computed again."""
        return _copied, (tuple([(m.role, m.content) for m in self.messages]), self.source, self.meta, self.id)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Sample:
        """The sample that ``to_json`` wrote; raises ValueError if its text was changed since."""
        messages = tuple(Message(**m) for m in row["messages"])
        return cls(messages, row.get("source", ""), row.get("meta", {}), row.get("id", ""))

    @classmethod
    def of(cls, prompt: str, response: str = "", *, source: str = "", **meta: Any) -> Sample:
        """A one-turn sample; without ``response`` it is a bare prompt."""
        turns = [Message("user", prompt)]
        if response:
            turns.append(Message("assistant", response))
        return cls(tuple(turns), source, meta)

    @property
    def context(self) -> tuple[Message, ...]:
        """Everything before the final answer."""
        answered = bool(self.messages) and self.messages[-1].role == "assistant"
        return self.messages[:-1] if answered else self.messages

    @property
    def prompt(self) -> str:
        """What the final answer answers: the last user turn, "" if there is none."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")

    @property
    def response(self) -> str:
        """The final assistant turn, "" if the conversation does not end with one."""
        last = self.messages[-1] if self.messages else None
        return last.content if last is not None and last.role == "assistant" else ""

    @property
    def label(self) -> bool | None:
        """The row's own label: True unsafe, False safe, None unlabelled."""
        return self.meta.get("unsafe")

    @property
    def hazard(self) -> str | None:
        """The row's own hazard category, ``meta["category"]``; None for anything but S1 to S14."""
        value = str(self.meta.get("category", "")).upper()
        return value if value in HAZARDS else None

    @property
    def pair(self) -> PreferencePair | None:
        """The final answer over ``meta["rejected"]``; None without that, and of several turns: a pair holds one."""
        rejected = self.meta.get("rejected")
        if not isinstance(rejected, str) or [message.role for message in self.messages] != ["user", "assistant"]:
            return None
        return PreferencePair(self.prompt, self.response, rejected)

    def unpaired(self) -> Sample:
        """This sample without ``meta["rejected"]``."""
        if "rejected" not in self.meta:
            return self
        meta = {key: value for key, value in self.meta.items() if key != "rejected"}
        return Sample(self.messages, self.source, meta, self.id)

    def with_response(self, text: str) -> Sample:
        """The same conversation with another final answer."""
        return Sample((*self.context, Message("assistant", text)), self.source, self.meta)


def _hash_of(messages: Sequence[Message]) -> str:
    """``content_hash`` of ``[[role, content], …]``, spelled out: it is most of the time of making a sample."""
    turns = [f"[{encode_basestring_ascii(m.role)},{encode_basestring_ascii(m.content)}]" for m in messages]
    return hashlib.sha256(f"[{','.join(turns)}]".encode("ascii")).hexdigest()


def _copied(turns: Sequence[tuple[Role, str]], source: str, meta: Mapping[str, Any], id_: str) -> Sample:
    """A sample out of what another process of ours took apart."""
    sample, put = object.__new__(Sample), object.__setattr__
    put(sample, "messages", tuple([Message(role, content) for role, content in turns]))
    put(sample, "source", source)
    put(sample, "meta", meta)
    put(sample, "id", id_)
    return sample


@dataclass(frozen=True, slots=True)
class Verdict(Record):
    """What one filter says of one sample, and what is to be done with it.

    ``scores`` holds the axes the filter knows, each in [0, 1]: "prompt" (the request is harmful), "response" (the
    answer is harmful in itself), "refusal" (the answer declines); a filter may add figures of its own. ``unsafe`` is
    the probability that the row must not be trained on as it is. ``action`` "error" never means keep.
    """

    sample_id: str
    filter: str
    scores: Mapping[str, float]
    unsafe: float
    category: str | None = None
    action: Action = "keep"
    reason: str = ""
    filter_revision: str = ""


@dataclass(frozen=True, slots=True)
class Revision(Record):
    """How one flagged sample was rewritten: the principle used, the critique, the answer that passed the screen.

    ``attempts`` says how many were made, ``rounds`` how many rounds the last of them had; principle and critique are
    the last round's. A refusal template took 0 rounds. ``seed``, ``category`` and ``sample_id`` decide in which order
    principles are tried; ``flagged_for`` is the screen's reason against the original.
    """

    sample_id: str
    principle: str
    critique: str
    revised: str
    model_revision: str
    attempts: int
    rounds: int = 1
    seed: int = 0
    category: str | None = None
    flagged_for: str = ""


@dataclass(frozen=True, slots=True)
class PreferencePair(Record):
    """One row of preference data, in TRL's columns: ``chosen`` passed the screen or is kept by a policy.

    ``rejected`` is what the screen flagged, or what the source's own preference rejects, which no screen has seen.
    """

    prompt: str
    chosen: str
    rejected: str


@dataclass(frozen=True, slots=True)
class UpdateVerdict(Record):
    """Whether the server accepted one client's reply in one round, and why."""

    round: int
    node: str
    accepted: bool
    reason: str
    norms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EvalRecord(Record):
    """One answer of one model to one benchmark case; the response is kept, so it can be judged again.

    ``finish`` "error" means that no answer came (a timeout, say); every judge leaves it "unscored".
    """

    benchmark: str
    case_id: str
    prompt: str
    response: str
    seed: int
    finish: Finish
    labels: Mapping[str, Label] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Metric(Record):
    """A share over the scored cases of a benchmark, with its 95 % interval.

    Raises:
        ValueError: ``n`` is 0. Nothing measured is an error, never a neutral number.
    """

    value: float
    n: int
    n_unscored: int
    ci95: tuple[float, float]
    per_seed: Sequence[float] = ()

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError("a metric needs at least one scored case")
        object.__setattr__(self, "ci95", tuple(self.ci95))  # JSON gives lists
        object.__setattr__(self, "per_seed", tuple(self.per_seed))
