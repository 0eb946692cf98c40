"""Text generation behind one protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from safefed.adapter import state_hash, take_state
from safefed.errors import ConfigError, DataError
from safefed.escape import MARK, clip, control_tokens, neutralise
from safefed.models import LoadedModel
from safefed.records import Finish, Message, content_hash

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig


ROW_TOKENS = 256
"""Prompt tokens per row that a full batch has room for; longer prompts make smaller batches."""


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


class LocalGenerator:
    """A Generator over a model in this process: greedy, in left-padded batches sorted by length.

    In float32 the text does not depend on ``batch_size``; in lower precision a near tie between two tokens may fall
    the other way. Control tokens in message content are broken (``safefed.escape``). A conversation that leaves less
    than ``max_new_tokens`` of the model's context has its longest messages clipped in the middle, at a visible mark.

    Args:
        loaded: The model; it may be a PeftModel, as ``safefed.adapter.with_adapter`` gives it.
        batch_size: Conversations per forward pass; fewer when they are longer than ``ROW_TOKENS`` tokens.
        adapter: The hash of the model's adapter, if it is known and not in ``loaded.fingerprint``; else computed.
            Swapping the adapter calls for a new LocalGenerator, or ``revision`` is wrong.
        base_only: Generate without the adapter.

    Attributes:
        revision: Hash of ``loaded.fingerprint``, adapter, dtype and quantization.
        n_truncated: Conversations clipped so far.
    """

    def __init__(
        self, loaded: LoadedModel, *, batch_size: int = 32, adapter: str | None = None, base_only: bool = False
    ) -> None:
        self._model, self._tokenizer = loaded.model, loaded.tokenizer
        self._batch_size, self._base_only = batch_size, base_only
        self._control = control_tokens(loaded.tokenizer)
        self._eos = _end_tokens(loaded)
        self.revision = _revision(loaded, adapter, base_only)
        self.n_truncated = 0

    def generate(self, conversations: Sequence[Sequence[Message]], *, max_new_tokens: int) -> list[Generation]:
        """One greedy answer per conversation, in order, stripped of blanks and control tokens.

        Raises:
            ConfigError: ``max_new_tokens`` leaves no room for a prompt.
            DataError: the chat template refuses a conversation, or one has too many turns for the context.
        """
        room = self._room(max_new_tokens)
        return self.extend([self._fit(conversation, room) for conversation in conversations], max_new_tokens)

    def stream(
        self, conversations: Sequence[Sequence[Message]], *, max_new_tokens: int
    ) -> Iterator[dict[int, Generation]]:
        """See Streaming: batch by batch, in the order and with the text of ``generate``."""
        room = self._room(max_new_tokens)
        prompts = [self._fit(conversation, room) for conversation in conversations]
        for rows in _batches([len(prompt) for prompt in prompts], self._batch_size):
            yield dict(zip(rows, self.extend([prompts[i] for i in rows], max_new_tokens), strict=True))

    def extend(self, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[Generation]:
        """The greedy continuation of each prompt, given as tokens that leave room for it, in order."""
        answers: dict[int, Generation] = {}
        with self._ready():
            for rows in _batches([len(prompt) for prompt in prompts], self._batch_size):
                answers.update(zip(rows, self._answer([prompts[i] for i in rows], max_new_tokens), strict=True))
        return [answers[i] for i in range(len(prompts))]

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

    def _answer(self, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[Generation]:
        ids, mask = padded(prompts, self._pad, self._model.device)
        config = self._greedy(max_new_tokens)
        generate: Any = self._model.generate  # transformers types it as a Tensor
        out: torch.Tensor = generate(input_ids=ids, attention_mask=mask, generation_config=config)
        return [self._read(row) for row in out[:, ids.shape[1] :].tolist()]

    @property
    def _pad(self) -> int:
        pad: int | None = self._tokenizer.pad_token_id
        return self._eos[0] if pad is None else pad

    def _greedy(self, max_new_tokens: int) -> GenerationConfig:
        from transformers import GenerationConfig

        return GenerationConfig(
            max_new_tokens=max_new_tokens,
            eos_token_id=self._eos,
            pad_token_id=self._pad,
            # Said in full: what is left out is taken from the model's own generation_config.json.
            do_sample=False,
            num_beams=1,
            temperature=1.0,
            top_p=1.0,
            top_k=50,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            min_length=0,
        )

    def _read(self, tokens: list[int]) -> Generation:
        end = next((i for i, token in enumerate(tokens) if token in self._eos), None)
        text = self._tokenizer.decode(tokens[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Generation(str(text).strip(), "length" if end is None else "stop")


def padded(
    prompts: Sequence[Sequence[int]], pad: int, device: Any, *, left: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts as one tensor, padded on the left (right: for encoders), and its mask; both (rows, longest prompt)."""
    import torch

    width = max(map(len, prompts))
    gaps = [(width - len(prompt), 0) if left else (0, width - len(prompt)) for prompt in prompts]
    rows = zip(gaps, prompts, strict=True)
    ids = [[pad] * before + list(prompt) + [pad] * after for (before, after), prompt in rows]
    mask = [[0] * before + [1] * (width - before - after) + [0] * after for before, after in gaps]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _batches(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Positions, longest first, in batches of up to ``batch_size`` rows and ``batch_size * ROW_TOKENS`` tokens."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    while order:
        size = max(1, min(batch_size, batch_size * ROW_TOKENS // max(1, lengths[order[0]])))
        yield order[:size]
        order = order[size:]


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
