"""Long text and many turns: everything is scored to its very end, in parts that nothing benign can dilute.

A *piece* is a sentence or a line. Where one is cut does not depend on what stands before it, so a text's pieces are
also pieces of any longer text that holds it as sentences of its own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from safefed.records import Sample

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=\u3002)|[\r\n\v\f\x85\u2028\u2029]+")
_CHUNK = re.compile(r"\S(?:.{0,62}\S)?(?=\s|$)|\S{64}")
_INVISIBLE = re.compile(
    "[\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    "\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0001\U000e0020-\U000e007f\ud800-\udfff]"
)
_CYRILLIC_AND_GREEK = "аеорсухіјѕһԁАВЕКМНОРСТХУІЈЅοανικτυρΑΒΕΖΗΙΚΜΝΟΡΤΥΧ"
_LATIN = "aeopcyxijshdABEKMHOPCTXYIJSoaviktupABEZHIKMNOPTYX"
_LOOKALIKES = str.maketrans(_CYRILLIC_AND_GREEK, _LATIN)
_FOREIGN = re.compile(f"[{_CYRILLIC_AND_GREEK}]")
_MIXED = re.compile(f"[A-Za-z][{_CYRILLIC_AND_GREEK}]|[{_CYRILLIC_AND_GREEK}][A-Za-z]")
_REPEATED = re.compile(r"(\S)\1{3,}+")
_LONGEST_SENTENCE = 400


def visible(text: str) -> str:
    """What a reader sees of ``text``, character by character.

    Compatibility forms are folded (NFKC); invisible characters and lone surrogates are removed; NUL is a space. In
    words that mix alphabets, Cyrillic and Greek letters that look Latin become Latin.
    """
    if not text.isascii():
        text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
        if _FOREIGN.search(text):
            text = re.sub(r"\w+", _in_one_alphabet, text)
    return text.replace("\0", " ")


def normalise(text: str) -> str:
    """``visible``, with a character that is repeated more than three times repeated three times."""
    return _REPEATED.sub(r"\1\1\1", visible(text))


def _in_one_alphabet(word: re.Match[str]) -> str:
    return word.group().translate(_LOOKALIKES) if _MIXED.search(word.group()) else word.group()


def is_blank(text: str) -> bool:
    """Whether there is nothing in ``text`` to score."""
    return not visible(text).strip()


def pieces(text: str) -> list[str]:
    """The sentences and lines of ``text``, in order, [] if it is blank.

    A sentence of more than 400 characters is cut into chunks of at most 64, at spaces where there are any.
    """
    found: list[str] = []
    for sentence in _SENTENCE_END.split(normalise(text)):
        stripped = sentence.strip()
        if len(stripped) > _LONGEST_SENTENCE:
            found += _CHUNK.findall(stripped)
        elif stripped:
            found.append(stripped)
    return found


def windows(text: str, size: int = 400) -> list[str]:
    """Overlapping windows of about ``size`` characters that cover every piece of ``text`` to its end.

    Each window starts about half a window after the one before, at a piece; only a single piece can be longer than
    ``size``. For classifiers that read text as a whole: a harmful passage is diluted by at most its own windows.
    """
    return [" ".join(window) for window in _windows(pieces(text), size)]


def _windows(parts: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    start = end = 0
    while end < len(parts):
        end, length = start + 1, len(parts[start])
        while end < len(parts) and length + len(parts[end]) < size:
            length += len(parts[end]) + 1
            end += 1
        yield parts[start:end]
        start = _middle(parts, start, end, size)


def _middle(parts: Sequence[str], start: int, end: int, size: int) -> int:
    """The piece at which the second half of ``parts[start:end]`` begins; always after ``start``."""
    length = 0
    for index in range(start, end):
        length += len(parts[index]) + 1
        if 2 * length >= size:
            return index + 1
    return end


Exchange = Mapping[str, tuple[str, ...]]
"""The texts each axis is about, by axis; an axis scores as its highest text. No key: nothing to score."""


def exchanges(sample: Sample) -> list[Exchange]:
    """Every ask with its answer, and, if there are several turns, all asks together with all answers.

    The last one catches what is split over turns; any reply that declines excuses it, since each ask is also judged
    with its own answer. System turns count as part of what is asked.
    """
    single = [_exchange(ask, answer, [answer]) for ask, answer in asks(sample)]
    return [*single, _together(sample)] if len(sample.messages) > 2 else single


def asks(sample: Sample) -> list[tuple[str, str]]:
    """Every ask with its answer, in order; "" where there is no answer, or nothing was asked before it."""
    found: list[tuple[str, str]] = []
    asked: list[str] = []
    for message in sample.messages:
        if message.role == "assistant":
            found.append(("\n".join(asked), message.content))
            asked = []
        else:
            asked.append(message.content)
    return [*found, ("\n".join(asked), "")] if asked else found


def _together(sample: Sample) -> Exchange:
    answers = [m.content for m in sample.messages if m.role == "assistant"]
    asks = [m.content for m in sample.messages if m.role != "assistant"]
    return _exchange(" ".join(asks), " ".join(answers), answers)


def _exchange(prompt: str, response: str, replies: Sequence[str]) -> Exchange:
    texts = {"prompt": (prompt,), "response": (response,), "refusal": tuple(replies)}
    kept = {axis: tuple(text for text in found if not is_blank(text)) for axis, found in texts.items()}
    return {axis: found for axis, found in kept.items() if found}
