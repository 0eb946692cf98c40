"""Generators by configuration, and answers that are paid for once: each is on disk as soon as it is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import astuple
from pathlib import Path
from typing import Any

from safefed.config import GeneratorConfig, ModelConfig
from safefed.generate import FAILED, Generation, Generator, LocalGenerator, Streaming, Tokens, turns
from safefed.progress import Advance
from safefed.records import Message, content_hash
from safefed.store import Log


def load_generator(config: GeneratorConfig, model: ModelConfig, *, batch_size: int) -> Generator:
    """What ``config`` asks for.

    Args:
        config: The kind, and the server of an endpoint.
        model: The model of a local generator, loaded now.
        batch_size: Conversations that a local generator works on at once.

    Raises:
        ConfigError: the device, the key or the package for endpoints is not there.
        DataError: the model cannot be loaded, or the server does not answer.
    """
    if config.kind == "endpoint":
        from safefed.endpoint import EndpointGenerator

        return EndpointGenerator(config)
    from safefed.models import load_model

    return LocalGenerator(load_model(model), batch_size=batch_size)


class Remembered:
    """A Generator that asks another one, and never twice for the same.

    Answers go to a ``Log`` as they come: each answer of an endpoint, each batch of a local model. A process that was
    killed finds them there and asks for the rest. Equal conversations are asked once; an answer that failed (``finish``
    "error") is not kept. The file holds the answers' text, and of the questions hashes: call ``forget`` when the work
    that they are for is safe.

    Args:
        generator: Who is asked.
        path: The file; None: answers are remembered by this object only.
        purpose: What the answers are for, as a hash or a name: a file that was begun for another purpose or by another
            generator is thrown away unread.
        heard: Called with the number of new answers.

    Attributes:
        revision: The generator's.
        counts: "answers", "failed" (conversations that got none) and, where they are counted, "prompt_tokens",
            "cached_tokens" and "completion_tokens"; those from the file count too.

    Raises:
        IntegrityError: the file is damaged anywhere but in its last line.
    """

    def __init__(
        self, generator: Generator, path: Path | None, purpose: str, heard: Advance = lambda _answers: None
    ) -> None:
        self.revision = generator.revision
        self._generator, self._path, self._heard = generator, path, heard
        self._log = _opened(path, {"purpose": purpose, "revision": generator.revision}) if path else None
        self._answers = {row["key"]: _generation(row) for row in self._log.rows[1:]} if self._log else {}
        self._failed: set[str] = set()

    def generate(self, conversations: Sequence[Sequence[Message]], *, max_new_tokens: int) -> list[Generation]:
        """One answer per conversation, in order; see Generator."""
        keys = [self._key(conversation, max_new_tokens) for conversation in conversations]
        asked = {key: c for key, c in zip(keys, conversations, strict=True) if key not in self._answers}
        names = list(asked)
        for part in _parts(self._generator, list(asked.values()), max_new_tokens):
            self._keep({names[i]: answer for i, answer in part.items()})
        return [self._answers.get(key, FAILED) for key in keys]

    @property
    def counts(self) -> Counter[str]:
        """See the class."""
        counts = Counter(answers=len(self._answers), failed=len(self._failed - self._answers.keys()))
        for answer in self._answers.values():
            if answer.tokens:
                counts["prompt_tokens"] += answer.tokens.prompt
                counts["cached_tokens"] += answer.tokens.cached
                counts["completion_tokens"] += answer.tokens.completion
        return counts

    def turns(self) -> AbstractContextManager[None]:
        """See ``safefed.generate.turns``."""
        return turns(self._generator)

    def forget(self) -> None:
        """Delete the file; this object is of no use afterwards."""
        if self._path:
            self._path.unlink(missing_ok=True)

    def _key(self, conversation: Sequence[Message], max_new_tokens: int) -> str:
        turns = [[message.role, message.content] for message in conversation]
        return content_hash([self.revision, turns, max_new_tokens])

    def _keep(self, part: Mapping[str, Generation]) -> None:
        sound = {key: answer for key, answer in part.items() if answer.finish != "error"}
        self._failed |= part.keys() - sound.keys()
        if sound and self._log:
            self._log.append(*[_row(key, answer) for key, answer in sound.items()])
        self._answers |= sound
        self._heard(len(part))


def _opened(path: Path, header: Mapping[str, Any]) -> Log:
    log = Log(path)
    if log.rows[:1] == [header]:
        return log
    path.unlink()
    log = Log(path)
    log.append(header)
    return log


def _parts(
    generator: Generator, conversations: Sequence[Sequence[Message]], max_new_tokens: int
) -> Iterator[dict[int, Generation]]:
    if not conversations:
        return
    if isinstance(generator, Streaming):
        yield from generator.stream(conversations, max_new_tokens=max_new_tokens)
    else:
        yield dict(enumerate(generator.generate(conversations, max_new_tokens=max_new_tokens)))


def _row(key: str, answer: Generation) -> dict[str, Any]:
    tokens = list(astuple(answer.tokens)) if answer.tokens else None
    return {"key": key, "text": answer.text, "finish": answer.finish, "tokens": tokens}


def _generation(row: Mapping[str, Any]) -> Generation:
    return Generation(row["text"], row["finish"], Tokens(*row["tokens"]) if row["tokens"] else None)
