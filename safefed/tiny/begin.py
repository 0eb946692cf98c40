"""What a training run begins with; the corpus is kept in its folder, so that a resumed run begins with the same."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from safefed.errors import ConfigError
from safefed.records import Sample
from safefed.store import read_json, read_jsonl, write_json, write_jsonl
from safefed.tiny import batches, corpus
from safefed.tiny.meanings import kept, remembering, request_meanings, requests_of, token_vectors
from safefed.tiny.network import Recipe
from safefed.tiny.tokens import encode, train_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

    from safefed.overlap import Encode


class Taught(NamedTuple):
    """What a sentence encoder teaches: meanings, (requests, dimensions), and first embeddings, (tokens, hidden)."""

    meanings: torch.Tensor
    vectors: torch.Tensor


class Begun(NamedTuple):
    """Folder, recipe, tokenizer, rows of the corpus, and what an encoder teaches (None without one)."""

    folder: Path
    recipe: Recipe
    tokenizer: PreTrainedTokenizerFast
    rows: list[batches.Row]
    taught: Taught | None


def prepare(out: Path, data: Path | None, recipe: Recipe, encoder: Encode | None = None) -> Begun:
    """Corpus, tokenizer and what the encoder teaches for a run in ``out`` (``corpus.json`` gets the counts).

    Raises:
        ConfigError: ``out`` holds a run of another recipe or other data.
        DataError: a data set is missing in ``data``.
    """
    out.mkdir(parents=True, exist_ok=True)
    encode_once = encoder and remembering(encoder)
    samples, counts = _corpus(out, data, recipe, encode_once)
    tokenizer = train_tokenizer(samples, recipe.vocabulary)
    requests = requests_of(samples) if encode_once else []
    taught = encode_once and Taught(
        kept(out / "meanings.npy", lambda: request_meanings(requests, encode_once)),
        kept(out / "vectors.npy", lambda: token_vectors(tokenizer, encode_once, recipe.hidden)),
    )
    lines = {request: line for line, request in enumerate(requests)}
    encoded = (batches.Row(*encode(tokenizer, s), lines.get(s.prompt, batches.NOWHERE)) for s in samples)
    rows = [row for row in encoded if len(row.ids) <= recipe.max_length]
    counts |= {"dropped: length": len(samples) - len(rows), "tokens": sum(len(row.ids) for row in rows)}
    counts["tokens learnt"] = sum(sum(row.mask) for row in rows)
    write_json(out / "corpus.json", counts)
    return Begun(out, recipe, tokenizer, rows, taught)


def _corpus(
    out: Path, data: Path | None, recipe: Recipe, encoder: Encode | None
) -> tuple[list[Sample], dict[str, int]]:
    """The corpus, from ``out`` when the run was begun there: a sentence encoder takes minutes over it."""
    begun = out / "corpus.jsonl"
    facts = json.loads(json.dumps({"recipe": asdict(recipe), "data": str(data), "encoder": encoder is not None}))
    if begun.exists():
        if read_json(out / "recipe.json") != facts:
            raise ConfigError(f"{out} holds a run of another recipe or other data; give another --out")
        return [Sample.from_json(row) for row in read_jsonl(begun)], read_json(out / "corpus.json")
    samples, counts = corpus.build(data, recipe.seed, recipe.scale, encoder)
    write_json(out / "recipe.json", facts)
    write_json(out / "corpus.json", counts)
    write_jsonl(begun, (sample.to_json() for sample in samples))
    return samples, counts
