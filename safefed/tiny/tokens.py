"""The tokenizer of the embedded model: byte-level BPE trained on the corpus, and its chat template."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from safefed.records import Sample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, END, ROLES = "<|pad|>", "<|end|>", {role: f"<|{role}|>" for role in ("system", "user", "assistant")}
CONTEXT = 1024

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|' + message['role'] + '|>' -}}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- generation -%}{{- message['content'] + '<|end|>' -}}{%- endgeneration -%}"
    "{%- else -%}{{- message['content'] + '<|end|>' -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


def train_tokenizer(rows: Iterable[Sample], vocabulary: int) -> PreTrainedTokenizerFast:
    """A tokenizer with at most ``vocabulary`` tokens, five of them control tokens; every text round-trips."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = [PAD, END, *ROLES.values()]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((message.content for row in rows for message in row.messages), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=list(ROLES.values()),
        model_max_length=CONTEXT,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def encode(tokenizer: PreTrainedTokenizerFast, row: Sample) -> tuple[list[int], list[int]]:
    """Token ids of a conversation, and the mask of the tokens to learn (its final answer, if any, and the end)."""
    head = [{"role": message.role, "content": message.content} for message in row.context]
    ids = tokenizer.apply_chat_template(head, add_generation_prompt=True, tokenize=True, return_dict=False)
    answer = tokenizer(row.response + END if row.response else "", add_special_tokens=False)["input_ids"]
    return ids + answer, [0] * len(ids) + [1] * len(answer)


def token_id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    """The id of one control token."""
    return int(tokenizer.get_vocab()[token])
