"""From a sample to the prompts of a guard model: cut where they are too long, and escaped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from safefed.errors import DataError
from safefed.escape import control_tokens, neutralise
from safefed.filters.guard_profile import Profile, Question, listed
from safefed.filters.windows import asks, exchanges, is_blank, normalise, windows
from safefed.records import Sample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LONGEST = 4096
"""Tokens of a prompt, however long the model's context: guards are made for short texts, and long ones dilute."""

ROOM = 64
"""Tokens of it that are left for the answer."""

_SMALLEST = 64
_PROBE, _REPLY = "zebra crossing", "quiet harbour"

Turns = tuple[str, ...]
"""What was said, the user first, in turns; an empty text where a side said nothing."""


class Exchange(NamedTuple):
    """A request with its answer, and the turns before it."""

    history: Turns
    ask: str
    answer: str

    def concerns(self, axis: str) -> bool:
        """Whether there is anything to ask on ``axis``."""
        return not is_blank(self.ask if axis == "prompt" else self.answer)


def talk(sample: Sample, history: bool) -> list[Exchange]:
    """Every request of ``sample`` with its answer, as a reader sees the text (``windows.normalise``).

    With ``history`` each comes with all turns before it. Without, what is split over turns is caught by one more
    exchange of all requests with all answers, as in ``windows.exchanges``.
    """
    said = [(normalise(ask), normalise(answer)) for ask, answer in asks(sample)]
    if history:
        turns = [text for pair in said for text in pair]
        return [Exchange(tuple(turns[: 2 * i]), *pair) for i, pair in enumerate(said)]
    together = exchanges(sample)[len(said) :]
    joined = [[normalise(" ".join(found.get(axis, ()))) for axis in ("prompt", "response")] for found in together]
    return [Exchange((), ask, answer) for ask, answer in [*said, *joined]]


class PromptWriter:
    """Writes the prompts of one model.

    Args:
        tokenizer: The model's.
        profile: Its family.
        context: Tokens the model can read.

    Attributes:
        template: The Jinja text in use.
        source: "model" if the model ships it, "safefed" if it is the profile's.

    Raises:
        DataError: the template shows nothing of what it is given, or the context is too short for it.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, profile: Profile, context: int) -> None:
        self._tokenizer, self._profile = tokenizer, profile
        self._escape = (*control_tokens(tokenizer), *profile.markers)
        own = tokenizer.chat_template if profile.own_template else None
        found = own_form(tokenizer, profile.questions[0].guideline) if isinstance(own, str) else None
        self.source = "model" if found else "safefed"
        self.template = str(own) if found else profile.template
        self._typed = found is not None and found.typed
        self._limit = min(context, LONGEST) - ROOM
        longest = max(len(self.ids((_PROBE, _REPLY), question, {})) for question in profile.questions)
        if longest > self._limit - _SMALLEST:
            raise DataError(
                f"the {profile.family} prompt takes {longest} tokens, and the model reads {context}; use another model"
            )

    def parts(self, exchange: Exchange, question: Question) -> list[Turns]:
        """What is to be asked about, as few turns as hold all of it and each fit; [] if they cannot be made to fit.

        The turns before the exchange are left out when they do not fit: each of them is asked about by itself. Then
        request and answer are cut into windows, of which every one is asked about.
        """
        texts = self._texts(exchange, question)
        for turns in ((*exchange.history, *texts), texts):
            if self._fits(turns, question):
                return [turns]
        size = 4 * self._limit
        while (size := size // 2) >= _SMALLEST:
            found = list(_windows(texts, size))
            if all(self._fits(turns, question) for turns in found):
                return found
        return []

    def _texts(self, exchange: Exchange, question: Question) -> Turns:
        alone = question.reads == "ask" or (question.reads == "either" and is_blank(exchange.answer))
        return (exchange.ask,) if alone else (exchange.ask, exchange.answer)

    def _fits(self, turns: Turns, question: Question) -> bool:
        # Without the lead, which has its place in ROOM: questions that read the same must be cut alike.
        return len(encode(self._tokenizer, self._shown(turns, question))) <= self._limit

    def text(self, turns: Turns, question: Question, said: Mapping[str, str]) -> str:
        """The prompt up to the word that decides (but for the profile's ``opening``).

        Args:
            turns: From ``parts``.
            question: One of the profile's.
            said: The words found for earlier axes.

        Raises:
            DataError: the template refuses the turns.
        """
        words = {other.axis: said.get(other.axis, other.words[1]) for other in self._profile.questions}
        return self._shown(turns, question) + question.lead.format(**words)

    def _shown(self, turns: Turns, question: Question) -> str:
        escaped = [neutralise(text, self._escape) for text in turns]
        context: dict[str, Any] = {"guideline": question.guideline}
        if self.source == "safefed":
            context["categories"] = self._profile.categories
        return render(self._tokenizer, self.template, escaped, self._typed, context)

    def ids(self, turns: Turns, question: Question, said: Mapping[str, str]) -> list[int]:
        """The tokens of ``text``; the template itself writes those that stand at the beginning."""
        return encode(self._tokenizer, self.text(turns, question, said))


def _windows(texts: Turns, size: int) -> Iterator[Turns]:
    """``texts`` in windows of ``size`` characters together; each window of each text stands in one or more of them."""
    cut = [windows(text, size // len(texts)) if len(text) > size // len(texts) else [text] for text in texts]
    for i in range(max(map(len, cut))):
        yield tuple(parts[min(i, len(parts) - 1)] for parts in cut)


class Form(NamedTuple):
    """How a model's own template takes content (as typed parts, or as text), and the categories it lists."""

    typed: bool
    codes: list[str]


def own_form(tokenizer: PreTrainedTokenizerBase, guideline: str) -> Form | None:
    """What the chat template of ``tokenizer`` is made for; None if there is none or it is no guard's.

    A guard's template shows a conversation's turns, and either lists categories or shows the guideline.
    """
    if not isinstance(tokenizer.chat_template, str):
        return None
    for typed in (False, True):
        try:
            shown = render(tokenizer, tokenizer.chat_template, (_PROBE, _REPLY), typed, {"guideline": guideline})
        except DataError:
            continue
        if _PROBE in shown and _REPLY in shown and (listed(shown) or (guideline and guideline in shown)):
            return Form(typed, listed(shown))
    return None


def render(
    tokenizer: PreTrainedTokenizerBase, template: str, turns: Sequence[str], typed: bool, context: Mapping[str, Any]
) -> str:
    """``turns`` in ``template``. Raises DataError when the template refuses them."""
    from jinja2 import TemplateError

    messages: list[Any] = [  # transformers types only text content
        {"role": "assistant" if i % 2 else "user", "content": [{"type": "text", "text": text}] if typed else text}
        for i, text in enumerate(turns)
    ]
    try:
        return str(tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, **context))
    except (TemplateError, TypeError) as error:
        raise DataError(f"the guard's chat template refuses a conversation of {len(turns)} turns: {error}") from None


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The tokens of ``text`` and no others."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids
