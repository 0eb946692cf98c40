"""Where the token embeddings start: at what a sentence encoder knows of the tokens, so that rare words have neighbours.

The encoder's vector of each token alone, reduced by principal components (as model2vec distils static embeddings).
Measured on 400 steps: AUROC of harmful against harmless ``mini`` prompts .79 from random embeddings, .83 from these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

    from safefed.overlap import Encode

BROKEN = "\ufffd"


def token_vectors(tokenizer: PreTrainedTokenizerFast, encode: Encode, dimensions: int) -> torch.Tensor:
    """Float32 (tokens, dimensions): unit rows, zero for control tokens and pieces that are no text by themselves."""
    import torch

    texts = [tokenizer.convert_tokens_to_string([token]).strip() for token in _in_order(tokenizer)]
    special = set(tokenizer.all_special_ids)
    sound = [n for n, text in enumerate(texts) if n not in special and text and BROKEN not in text]
    found = torch.tensor(encode([texts[n] for n in sound]))
    found = found - found.mean(0)
    _, _, directions = torch.linalg.svd(found, full_matrices=False)
    found = found @ directions[:dimensions].T
    vectors = torch.zeros(len(texts), dimensions)
    vectors[sound, : found.shape[1]] = torch.nn.functional.normalize(found, dim=-1)
    return vectors


def _in_order(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    vocabulary = tokenizer.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)
