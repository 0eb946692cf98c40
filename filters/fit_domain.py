"""Refitting the heads of ``linear`` or ``embedding`` to a domain, from rows that people labelled.

A new head starts from the package's own: its logit is one more feature, so what the domain's rows do not teach stays as
it was. Both are linear in the same features, so the sum is one head again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from safefed.errors import ConfigError, DataError
from safefed.filters.fit_heads import Example, Features, fold_of, logistic
from safefed.filters.heads import Heads, load_heads, save_heads
from safefed.filters.static import StaticVectors
from safefed.filters.windows import joined
from safefed.records import Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    Floats = NDArray[np.float64]

STRENGTHS = (0.1, 0.5, 3.0)
"""Inverse regularisations tried; the one with the best held-out log loss is taken."""

FEWEST = 20
PRIOR = 4.0
"""What the package's own logit weighs beside the features: little regularised."""


def fit_domain(argument: str, samples: Sequence[Sample], out: Path, *, seed: int = 0) -> None:  # noqa: ARG001
    """Refit heads and write them to ``out``, which ``linear:OUT`` or ``embedding:OUT`` loads. Deterministic.

    The labels say whether a row as a whole is unsafe. Rows with an answer train the axis "response", which then decides
    alone for every exchange that has an answer; it reads question and answer together. Bare prompts train the axis
    "prompt". An axis without at least 20 labelled rows of both kinds together stays the package's own.

    Args:
        argument: "linear", "embedding", or "embedding:ENCODER" for any encoder; without the package's own encoder a
            head starts from nothing, and axes that cannot be fitted are left out.
        samples: Labelled rows.
        out: A folder.
        seed: For symmetry with other filters; nothing here is drawn.

    Raises:
        ConfigError: the kind is neither "linear" nor "embedding".
        DataError: no axis has enough rows of both kinds.
    """
    kind, _, encoder = argument.partition(":")
    features, own = starting_point(kind, encoder)
    save_heads(out, kind, domain_heads(samples, features, own))


def domain_heads(samples: Sequence[Sample], features: Features, own: Heads) -> Heads:
    """``fit_domain`` in memory: heads that start from ``own``, over the same features."""
    fitted = {}
    for axis, found in _examples(samples).items():
        labels = [example.label for example in found]
        if len(found) >= FEWEST and any(labels) and not all(labels):
            fitted[axis] = _fit(found, features, own, axis)
    if not fitted:
        raise DataError(f"{len(samples)} rows are too few to fit heads to; label at least {FEWEST} of both kinds")
    return _merged(own, fitted)


def starting_point(kind: str, encoder: str = "") -> tuple[Features, Heads]:
    """What heads of ``kind`` read, and the heads to start from: the package's own, or none for another encoder."""
    from safefed.filters.wording import Wording

    folder = Path(__file__).parent
    if kind == "linear":
        return Wording(StaticVectors(folder)), load_heads(folder, kind)[0]
    if kind != "embedding":
        raise ConfigError(f"{kind!r} has no heads to fit; choose linear or embedding")
    from safefed.filters.embedding import DEFAULT
    from safefed.filters.meaning import Meaning
    from safefed.filters.sentence_encoder import SentenceEncoder

    found = SentenceEncoder(encoder or DEFAULT)
    own = load_heads(folder, kind)[0]
    if found.weights != own.about["encoder_weights"]:
        own = replace(own, axes={}, biases={}, calibration={})
    return Meaning(found), replace(own, about={"encoder": encoder or DEFAULT, "encoder_weights": found.weights})


def _examples(samples: Sequence[Sample]) -> dict[str, list[Example]]:
    found: dict[str, list[Example]] = {"prompt": [], "response": []}
    for sample in samples:
        axis, text = joined(sample.prompt, sample.response)
        if sample.label is not None:
            found[axis].append(Example(text, sample.label, "domain", sample.prompt or text))
    return found


def _fit(
    found: Sequence[Example], features: Features, own: Heads, axis: str
) -> tuple[Floats, float, tuple[float, float]]:
    """Head as stored, bias, calibration."""
    from scipy.sparse import csr_matrix, hstack

    rows = features.rows(axis, [example.text for example in found])
    labels, folds = np.array([e.label for e in found]), np.array([fold_of(e.group) for e in found])
    prior = rows @ features.unfolded(own.axes[axis]) if axis in own.axes else np.zeros(len(found))
    rows = csr_matrix(hstack([rows, csr_matrix(prior[:, None] * PRIOR)]))
    strength = min(STRENGTHS, key=lambda value: _held_out_loss(rows, labels, folds, value))
    logits = _held_out(rows, labels, folds, strength)
    weights, bias = logistic(rows, labels, None, strength)
    head = features.folded(weights[:-1])
    if axis in own.axes:
        head = head + PRIOR * weights[-1] * np.asarray(own.axes[axis], dtype=np.float64)
    slope, offset = logistic(logits[:, None], labels, None, 1e6)  # Platt, at the domain's own shares
    # Where held-out rows are ranked no better than by chance nothing can be calibrated: the logit stands as it is.
    return head, bias, ((float(slope[0]), offset) if slope[0] > 0 else (1.0, 0.0))


def _held_out(rows: csr_matrix, labels: NDArray[Any], folds: NDArray[Any], strength: float) -> Floats:
    logits = np.zeros(len(labels))
    for fold in np.unique(folds):
        fitted, out = folds != fold, folds == fold
        if labels[fitted].all() or not labels[fitted].any():
            raise DataError("labelled rows of one kind share one prompt; label rows of more prompts")
        head, bias = logistic(rows[fitted], labels[fitted], None, strength)
        logits[out] = rows[out] @ head + bias
    return logits


def _held_out_loss(rows: csr_matrix, labels: NDArray[Any], folds: NDArray[Any], strength: float) -> float:
    logits = _held_out(rows, labels, folds, strength)
    return float(np.logaddexp(0.0, np.where(labels, -logits, logits)).mean())


def _merged(own: Heads, fitted: Mapping[str, Any]) -> Heads:
    axes, biases, calibration = dict(own.axes), dict(own.biases), dict(own.calibration)
    for axis, (head, bias, pair) in fitted.items():
        axes[axis], biases[axis], calibration[axis] = head, bias, pair
    decides = {"decides": "response"} if "response" in fitted else {}
    return replace(own, axes=axes, biases=biases, calibration=calibration, about={**own.about, **decides})
