"""Text generation behind one protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from safefed.adapter import state_hash, take_state
from safefed.drafts import Drafts
from safefed.errors import ConfigError, DataError
from safefed.escape import MARK, clip, control_tokens, neutralise
from safefed.models import LoadedModel
from safefed.padding import Limits, generate_padded
from safefed.prefixes import Prefixes
from safefed.records import Finish, Message, content_hash

MEMORY = 512 << 20
"""Bytes: 58,000 tokens of the embedded model, some 4,000 of a model with 8 billion weights."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What one answer cost: tokens of the prompt, those of them that the server had in a cache, tokens written."""

    prompt: int
    cached: int
    completion: int


@dataclass(frozen=True, slots=True)
class Generation:
    """One answer.

    Attributes:
        text: What was said, "" if nothing came.
        finish: "length": it was cut at ``max_new_tokens``; "error": no usable answer came.
        tokens: What it cost; None where nobody counts.
    """

    text: str
    finish: Finish
    tokens: Tokens | None = None


FAILED = Generation("", "error")


class Generator(Protocol):
    """Anything that continues conversations.

    Attributes:
        revision: Hash of weights, adapter and template; equal revisions and arguments give equal text.
    """

    revision: str

    def generate(self, conversations: Sequence[Sequence[Message]], *, max_new_tokens: int) -> list[Generation]:
        """One greedy answer per conversation, in order."""
        ...


@runtime_checkable
class Streaming(Protocol):
    """A Generator that can hand out answers before the last one is there."""

    def stream(
        self, conversations: Sequence[Sequence[Message]], *, max_new_tokens: int
    ) -> Iterator[dict[int, Generation]]:
        """The answers in parts, as they come, each under its conversation's position; every position once."""
        ...


@runtime_checkable
class Remembers(Protocol):
    """A Generator that can remember what it read."""

    def turns(self) -> AbstractContextManager[None]:
        """See ``safefed.generate.turns``."""
        ...


def turns(generator: Generator) -> AbstractContextManager[None]:
    """For several questions about one text: inside, ``generator`` reads only once what prompts begin with."""
    return generator.turns() if isinstance(generator, Remembers) else nullcontext()


class LocalGenerator:
    """A Generator over a model in this process: greedy, in batches that are refilled as answers end.

    In float32 the text depends neither on ``batch_size`` nor on ``turns`` nor on what is or was asked; in lower
    precision a near tie between two tokens may fall the other way. Models whose state is more than keys and values
    (``safefed.decoding.is_plain``) go through ``model.generate`` in left-padded batches, and nothing is remembered.
    Control tokens in message content are broken (``safefed.escape``). A conversation that leaves less than
    ``max_new_tokens`` of the model's context has its longest messages clipped in the middle, at a visible mark.

    Args:
        loaded: The model; it may be a PeftModel, as ``safefed.adapter.with_adapter`` gives it.
        batch_size: Conversations per forward pass; fewer when they are longer than ``ROW_TOKENS`` tokens.
        adapter: The hash of the model's adapter, if it is known and not in ``loaded.fingerprint``; else computed.
            Swapping the adapter calls for a new LocalGenerator, or ``revision`` is wrong.
        base_only: Generate without the adapter.
        memory: Bytes of keys and values that ``turns`` may keep.

    Attributes:
        revision: Hash of ``loaded.fingerprint``, adapter, dtype and quantization.
        n_truncated: Conversations clipped so far.
        n_prompt_tokens: Tokens of all prompts so far.
        n_read: Of these, how many went through the model; the others were remembered.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        batch_size: int = 32,
        adapter: str | None = None,
        base_only: bool = False,
        memory: int = MEMORY,
    ) -> None:
        self._model, self._tokenizer = loaded.model, loaded.tokenizer
        self._batch_size, self._base_only, self._memory = batch_size, base_only, memory
        self._control = control_tokens(loaded.tokenizer)
        self._eos = _end_tokens(loaded)
        self.revision = _revision(loaded, adapter, base_only)
        self._kept: Prefixes | None = None
        self._drafts = Drafts()
        self.n_truncated = self.n_prompt_tokens = self.n_read = 0

    def generate(
        self, conversations: Sequence[Sequence[Message]], *, max_new_tokens: int, prefill: str = ""
    ) -> list[Generation]:
        """One greedy answer per conversation, in order, stripped of blanks and control tokens.

        With ``prefill`` every answer begins with these words, put into the model's mouth.

        Raises:
            ConfigError: ``max_new_tokens`` leaves no room for a prompt.
            DataError: the chat template refuses a conversation, or one has too many turns for the context.
        """
        begun: list[int] = self._tokenizer(prefill, add_special_tokens=False)["input_ids"] if prefill else []
        room = self._room(max_new_tokens + len(begun))
        prompts = [self._fit(conversation, room) + begun for conversation in conversations]
        answers = self.extend(prompts, max_new_tokens)
        return [replace(a, text=f"{prefill} {a.text}".strip()) for a in answers] if prefill else answers

    def stream(
        self, conversations: Sequence[Sequence[Message]], *, max_new_tokens: int
    ) -> Iterator[dict[int, Generation]]:
        """See Streaming: answers soon after they have ended, with the text of ``generate``."""
        room = self._room(max_new_tokens)
        yield from self._streamed([self._fit(conversation, room) for conversation in conversations], max_new_tokens)

    def extend(self, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[Generation]:
        """The greedy continuation of each prompt, given as tokens that leave room for it, in order."""
        answers = {row: answer for part in self._streamed(prompts, max_new_tokens) for row, answer in part.items()}
        return [answers[i] for i in range(len(prompts))]

    def _streamed(self, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> Iterator[dict[int, Generation]]:
        self.n_prompt_tokens += sum(map(len, prompts))
        parts = self._parts(prompts, Limits(self._eos, self._pad, max_new_tokens, self._batch_size))
        while True:
            with self._ready():  # not while the caller looks at a part
                part = next(parts, None)
            if part is None:
                return
            yield {row: self._read(answer) for row, answer in part.items()}

    def _parts(self, prompts: Sequence[Sequence[int]], limits: Limits) -> Iterator[dict[int, list[int]]]:
        from safefed.decoding import Decoding, is_plain

        if not is_plain(self._bare):
            self.n_read += sum(map(len, prompts))
            yield from generate_padded(self._model, prompts, limits)
            return
        kept = self._kept or Prefixes(self._memory)
        kept.hold_for(_weights(self._model))
        keep, asked = self._kept is not None, [*map(tuple, prompts)]
        work = Decoding(self._model, asked, limits, kept=kept, keep=keep, drafts=self._drafts)
        yield from work.parts()
        self.n_read += work.n_read

    @contextmanager
    def turns(self) -> Iterator[None]:
        """See ``safefed.generate.turns``: up to ``memory`` bytes are kept, until the end of the outermost such context.

        Only for a time, so that the text of a run that goes on after a kill depends on nothing from before it. Weights
        that are loaded or trained meanwhile are noticed (not those written through ``.data``), and all is forgotten.
        """
        outer = self._kept
        self._kept = outer or Prefixes(self._memory)
        try:
            yield
        finally:
            self._kept = outer

    @contextmanager
    def _ready(self) -> Iterator[None]:
        import torch

        disabled: AbstractContextManager[Any] = nullcontext()
        if self._base_only and _is_peft(self._model):
            disabled = self._model.disable_adapter()  # type: ignore[operator]
        training = self._model.training
        self._model.eval()
        try:
            with torch.inference_mode(), disabled:
                yield
        finally:
            self._model.train(training)

    def _room(self, max_new_tokens: int) -> int:
        context: int = self._model.config.get_text_config().max_position_embeddings
        if max_new_tokens >= context:
            raise ConfigError(
                f"max_new_tokens={max_new_tokens} leaves no room for a prompt: the model's context is {context} "
                "tokens; ask for fewer"
            )
        return context - max_new_tokens

    def _fit(self, conversation: Sequence[Message], room: int) -> list[int]:
        contents = [neutralise(message.content, self._control) for message in conversation]
        limit = max(map(len, contents), default=0)
        ids = self._encode(conversation, contents)
        self.n_truncated += len(ids) > room
        while len(ids) > room:
            limit = min(limit - 1, limit * room // len(ids))
            if limit <= len(MARK):
                raise DataError(
                    f"a conversation of {len(contents)} turn(s) does not fit into {room} tokens even when clipped; "
                    "drop its early turns or use a model with a longer context"
                )
            ids = self._encode(conversation, [clip(content, limit) for content in contents])
        return ids

    def _encode(self, conversation: Sequence[Message], contents: Sequence[str]) -> list[int]:
        from jinja2 import TemplateError

        turns = [{"role": m.role, "content": text} for m, text in zip(conversation, contents, strict=True)]
        try:
            text = self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        except TemplateError as error:
            roles = ", ".join(message.role for message in conversation)
            raise DataError(f"the model's chat template refuses the roles ({roles}): {error}") from None
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    @property
    def _bare(self) -> Any:
        return self._model.get_base_model() if _is_peft(self._model) else self._model  # type: ignore[operator]

    @property
    def _pad(self) -> int:
        pad: int | None = self._tokenizer.pad_token_id
        return self._eos[0] if pad is None else pad

    def _read(self, tokens: list[int]) -> Generation:
        end = next((i for i, token in enumerate(tokens) if token in self._eos), None)
        text = self._tokenizer.decode(tokens[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Generation(str(text).strip(), "length" if end is None else "stop")


def _weights(model: Any) -> list[tuple[int, int]]:
    """What changes when weights are replaced or written to."""
    return [(p.data_ptr(), 0 if p.is_inference() else p._version) for p in model.parameters()]


def _is_peft(model: Any) -> bool:
    from peft import PeftModel

    return isinstance(model, PeftModel)


def _end_tokens(loaded: LoadedModel) -> list[int]:
    config = loaded.model.generation_config
    known = config.eos_token_id if config is not None else None
    ends = known if isinstance(known, list) else [known]
    found = [token for token in dict.fromkeys([*ends, loaded.tokenizer.eos_token_id]) if token is not None]
    if not found:
        raise DataError(f"model {loaded.config.name} names no end-of-text token; set eos_token in its tokenizer")
    return found


def _revision(loaded: LoadedModel, adapter: str | None, base_only: bool) -> str:
    parts = {key: value for key, value in loaded.fingerprint.items() if key != "adapter"}
    if not base_only and _is_peft(loaded.model):
        known = adapter or loaded.fingerprint.get("adapter")
        parts["adapter"] = known or state_hash(take_state(loaded.model))  # type: ignore[arg-type]
    return content_hash([parts, str(loaded.model.dtype), loaded.config.quantization])
