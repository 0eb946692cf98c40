"""What a sentence encoder teaches the model: where its token embeddings start, and what whole requests mean.

The first is the encoder's vector of each token alone, reduced by principal components (as model2vec distils static
embeddings), so that rare words have neighbours. Measured on 400 steps: AUROC of harmful against harmless ``mini``
prompts .79 from random embeddings, .83 from these.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from safefed.overlap import words
from safefed.records import Sample

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PreTrainedTokenizerFast

    from safefed.overlap import Encode

BROKEN = "\ufffd"
TURNS = 2
"""A request and its answer; a transcript has more."""


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


def remembering(encode: Encode) -> Encode:
    """``encode`` that encodes no text twice."""
    known: dict[str, np.ndarray] = {}

    def encode_new(texts: Sequence[str]) -> np.ndarray:
        import numpy as np

        new = list(dict.fromkeys(text for text in texts if text not in known))
        if new:
            known.update(zip(new, encode(new), strict=True))
        return np.stack([known[text] for text in texts])

    return encode_new


def request_meanings(kept: Path, samples: Sequence[Sample], encode: Encode) -> tuple[dict[str, int], torch.Tensor]:
    """Lines of the requests that begin and end a conversation, and their vectors: float16 (requests, dimensions).

    They are kept in the file ``kept``, so that a resumed run does not encode them again.
    """
    import numpy as np
    import torch

    requests = sorted({sample.prompt for sample in samples if len(sample.messages) <= TURNS})
    if not kept.exists():
        np.save(kept, encode([" ".join(words(request)) for request in requests]).astype(np.float16))
    return {request: line for line, request in enumerate(requests)}, torch.from_numpy(np.load(kept))
