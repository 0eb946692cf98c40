"""The probability of a guard's deciding word, read from one forward pass over the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from safefed.errors import DataError
from safefed.filters.batching import each_once, in_batches
from safefed.filters.guard_profile import Question
from safefed.filters.guard_prompt import encode
from safefed.models import LoadedModel
from safefed.padding import padded

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

BUDGET = 16_384
"""Tokens of a batch, padding included."""

_HOLDS = 1e-9


class Answer(NamedTuple):
    """What the model says of one prompt.

    Attributes:
        score: Probability of the word that counts, of the two words.
        outside: Probability of anything but the two words.
        start: The likeliest way to the word that counts, as tokens: for continuing the answer.
    """

    score: float
    outside: float
    start: tuple[int, ...]


class Words(NamedTuple):
    """The tokens that decide a question: ``opening``, or none of it, and then the first token of either word.

    Attributes:
        opening: What the model may write first; () if it never does.
        direct: First tokens of the two words without the opening.
        opened: And with it.
    """

    opening: tuple[int, ...]
    direct: tuple[int, int]
    opened: tuple[int, int]


def find_words(tokenizer: PreTrainedTokenizerBase, prompt: str, question: Question, opening: str) -> Words:
    """The deciding tokens after ``prompt``.

    Args:
        tokenizer: The model's.
        prompt: Any prompt for ``question``; all end alike.
        question: What is asked.
        opening: What the model may write before the word; "" or what the prompt ends with: nothing.

    Raises:
        DataError: the tokens of the prompt change with what follows, or both words begin with the same token.
    """
    direct = _firsts(tokenizer, prompt, question)
    if not opening or prompt.endswith(opening):
        return Words((), direct, direct)
    tokens = added_tokens(tokenizer, prompt, opening)
    return Words(tuple(tokens), direct, _firsts(tokenizer, prompt + opening, question))


def _firsts(tokenizer: PreTrainedTokenizerBase, prompt: str, question: Question) -> tuple[int, int]:
    first, second = (added_tokens(tokenizer, prompt, word)[0] for word in question.words)
    if first == second:
        raise DataError(
            f"the tokenizer begins {question.words[0]!r} and {question.words[1]!r} with the same token, so that no "
            "single probability decides; this model cannot be a guard of that family"
        )
    return first, second


def added_tokens(tokenizer: PreTrainedTokenizerBase, prompt: str, text: str) -> list[int]:
    """The tokens of ``text`` after ``prompt``. Raises DataError when it changes those of the prompt."""
    before, after = encode(tokenizer, prompt), encode(tokenizer, prompt + text)
    if after[: len(before)] != before or len(after) == len(before):
        raise DataError(
            f"the tokenizer joins the end of the guard's prompt with {text!r}; this model cannot be a guard of that "
            "family"
        )
    return after[len(before) :]


class AnswerReader:
    """Reads the answers of one model, each distinct prompt once, in batches of about equal length."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._model = loaded.model
        pad = loaded.tokenizer.pad_token_id
        self._pad = 0 if pad is None else pad

    def read(self, prompts: Sequence[Sequence[int]], words: Words) -> list[Answer]:
        """One answer per prompt, in order; NaN if the model gives one."""

        def read(distinct: Sequence[Sequence[int]]) -> list[Answer]:
            lengths = [len(prompt) + len(words.opening) for prompt in distinct]
            return in_batches(distinct, lengths, BUDGET, lambda batch: self._batch(batch, words))

        return each_once([tuple(prompt) for prompt in prompts], read)

    def _batch(self, prompts: Sequence[Sequence[int]], words: Words) -> list[Answer]:
        logs = self._log_probabilities([[*prompt, *words.opening] for prompt in prompts], len(words.opening) + 1)
        direct = logs[:, 0, list(words.direct)].exp()
        if not words.opening:
            return [_answer(pair, pair, words) for pair in direct.tolist()]
        way = logs[:, list(range(len(words.opening))), list(words.opening)].sum(dim=1, keepdim=True)
        opened = (way + logs[:, -1, list(words.opened)]).exp()
        both = (direct + opened).tolist()
        return [_answer(pair, after, words) for pair, after in zip(both, opened.tolist(), strict=True)]

    def _log_probabilities(self, rows: Sequence[Sequence[int]], last: int) -> torch.Tensor:
        """Of every token after each of the ``last`` positions: (rows, last, vocabulary), float32."""
        import torch

        ids, mask = padded(rows, self._pad, self._model.device)
        with torch.inference_mode():
            out = self._model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(1) - 1).clamp(min=0),
                logits_to_keep=last,
                use_cache=False,
            )
        return torch.log_softmax(out.logits[:, -last:].float(), dim=-1)


def _answer(pair: Sequence[float], opened: Sequence[float], words: Words) -> Answer:
    mass = pair[0] + pair[1]
    by_opening = words.opening and 2 * sum(opened) > mass
    start = (*words.opening, words.opened[0]) if by_opening else (words.direct[0],)
    return Answer(pair[0] / max(mass, _HOLDS) if mass == mass else mass, 1.0 - mass, start)
