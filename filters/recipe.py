"""The recipe of the embedded heads: ``python -m safefed.filters.recipe linear|embedding --data DIR --out DIR``.

DIR holds the public data sets that ``linear.md`` names. Deterministic on one machine. "embedding" needs the extra
``recipe``, which brings the encoder.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from safefed.filters.embedding import DEFAULT
from safefed.filters.fit_data import examples, without_repeats
from safefed.filters.fit_heads import fit_heads
from safefed.filters.heads import Heads, save_heads
from safefed.filters.meaning import Meaning
from safefed.filters.sentence_encoder import SentenceEncoder
from safefed.filters.static import packaged_vectors
from safefed.filters.wording import Wording
from safefed.tiny.encoder import packaged_encoder


def fit(kind: str, data: Path) -> Heads:
    """The heads of ``kind``, fitted on the public data in ``data`` and on text written for the project."""
    static, found = packaged_vectors(), examples(data)
    encoder = SentenceEncoder(str(packaged_encoder()), dtype="float32")
    meaning = Meaning(encoder, static)
    found["prompt"] = without_repeats(found["prompt"], data, meaning.vectors)
    if kind == "linear":
        # Refusals in unusual styles cannot be told by wording: with them, the usual ones were told worse.
        found["refusal"] = [example for example in found["refusal"] if example.source != "replies"]
        return fit_heads(found, Wording(static), static)
    return fit_heads(found, meaning, static, encoder=DEFAULT, encoder_weights=encoder.weights)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m safefed.filters.recipe", description=fit.__doc__)
    parser.add_argument("kind", choices=["linear", "embedding"])
    parser.add_argument("--data", type=Path, required=True, help="folder with the public data sets")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the heads to")
    options = parser.parse_args(arguments)
    save_heads(options.out, options.kind, fit(options.kind, options.data))


if __name__ == "__main__":
    main()
