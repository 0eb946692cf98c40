"""Refitting the heads of ``linear`` or ``embedding`` to a domain, from rows that people labelled.

A new head starts from the package's own: its logit is one more feature, so what the domain's rows do not teach stays as
it was. Both are linear in the same features, so the sum is one head again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from safefed.errors import ConfigError, DataError
from safefed.filters.fit_heads import Features, fold_of, logistic
from safefed.filters.heads import Heads, any_of, load_heads, part_of, save_heads
from safefed.filters.lexicon import FEATURES
from safefed.filters.static import packaged_vectors
from safefed.records import Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    Floats = NDArray[np.float64]
    Target = tuple[csr_matrix, NDArray[Any]]

STRENGTHS = (0.1, 0.3, 1.0, 3.0)
"""Inverse regularisations tried; the one with the best held-out log loss is taken."""

FEWEST = 20
PRIOR = 4.0
"""What the package's own logit weighs beside the features: little regularised."""

DENSE = 0.8
"""What vectors weigh beside n-grams, as a share of what they weigh in the package's heads: the rows are fewer."""

START = {"prompt": "prompt", "asked": "prompt", "response": "response"}
"""The package's head that a part starts from."""


def fit_domain(argument: str, samples: Sequence[Sample], out: Path) -> None:
    """Refit heads and write them to ``out``, which ``linear:OUT`` or ``embedding:OUT`` loads. Deterministic.

    The labels say whether a row as a whole is unsafe. Rows with an answer train the axis "response", which then decides
    alone for every exchange that has an answer; it reads question and answer side by side. Bare prompts train the axis
    "prompt". An axis without at least 20 labelled rows of both kinds together stays the package's own. A hazard
    (``Sample.hazard``) with at least 20 unsafe rows has a head of its own beside the general one: a row is unsafe if
    any of them fires (noisy or), and its category is that of the strongest.

    Args:
        argument: "linear", "embedding", or "embedding:ENCODER" for any encoder; without the package's own encoder a
            head starts from nothing, and axes that cannot be fitted are left out.
        samples: Labelled rows.
        out: A folder.

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
    for axis in ("prompt", "response"):
        found = [s for s in samples if s.label is not None and bool(s.response) is (axis == "response")]
        labels = [sample.label for sample in found]
        if len(found) >= FEWEST and any(labels) and not all(labels):
            fitted[axis] = _fit(axis, found, features, own)
    if not fitted:
        raise DataError(f"{len(samples)} rows are too few to fit heads to; label at least {FEWEST} of both kinds")
    return _merged(own, fitted)


def starting_point(kind: str, encoder: str = "") -> tuple[Features, Heads]:
    """What heads of ``kind`` read, and the heads to start from: the package's own, or none for another encoder."""
    from safefed.filters.wording import Wording

    folder = Path(__file__).parent
    static = packaged_vectors()
    if kind == "linear":
        return Wording(static), load_heads(folder, kind)[0]
    if kind != "embedding":
        raise ConfigError(f"{kind!r} has no heads to fit; choose linear or embedding")
    from safefed.filters.embedding import DEFAULT
    from safefed.filters.meaning import Meaning
    from safefed.filters.sentence_encoder import SentenceEncoder

    found = SentenceEncoder(encoder or DEFAULT)
    own = load_heads(folder, kind)[0]
    if found.weights != own.about["encoder_weights"]:
        own = replace(own, axes={}, biases={}, calibration={})
    return Meaning(found, static), replace(own, about={"encoder": encoder or DEFAULT, "encoder_weights": found.weights})


def _fit(axis: str, samples: Sequence[Sample], features: Features, own: Heads) -> Heads:
    """The heads of one axis, which replace those of the same parts."""
    from scipy.sparse import csr_matrix, hstack

    parts = [(part, features.rows(part, texts)) for part, texts in _texts(axis, samples).items()]
    priors = [rows @ features.unfolded(own.axes[START[part]]) for part, rows in parts if START[part] in own.axes]
    scales = [_rarity(rows) for _, rows in parts]
    blocks = [rows.multiply(scale) for (_, rows), scale in zip(parts, scales, strict=True)]
    own_rows = csr_matrix(hstack(blocks))
    rows = csr_matrix(hstack([own_rows, *(csr_matrix(PRIOR * prior[:, None]) for prior in priors)]))
    folds = np.array([fold_of(sample.prompt or sample.response) for sample in samples])
    # The package's logit says that something is unsafe, not which hazard it is: only the general head starts from it.
    targets = {hazard: (own_rows if hazard else rows, labels) for hazard, labels in _targets(samples, folds).items()}
    truth = targets[None][1]
    held_out = {value: _held_out(targets, folds, value) for value in STRENGTHS}
    strength = min(STRENGTHS, key=lambda value: _loss(held_out[value], truth))
    axes, biases = {}, {}
    for hazard, (read, labels) in targets.items():
        weights, bias = logistic(read, labels, None, strength)
        for part, head in _heads(weights, parts, scales, features, own):
            name = f"{part}/{hazard}" if hazard else part
            axes[name], biases[name] = head, bias if part == axis else 0.0
    slope, offset = logistic(held_out[strength][:, None], truth, None, 1e6)  # Platt, at the domain's own shares
    # Where held-out rows are ranked no better than by chance nothing can be calibrated: the logit stands as it is.
    pair = (float(slope[0]), offset) if slope[0] > 0 else (1.0, 0.0)
    return replace(own, axes=axes, biases=biases, calibration={axis: pair})


def _texts(axis: str, samples: Sequence[Sample]) -> dict[str, list[str]]:
    """What is read of exchanges, part by part."""
    asked = [sample.prompt for sample in samples]
    if axis == "prompt":
        return {"prompt": asked}
    answers = {"response": [sample.response for sample in samples]}
    return {"asked": asked, **answers} if any(asked) else answers


def _rarity(rows: csr_matrix) -> Floats:
    """What columns weigh: n-grams by half their inverse document frequency, vectors the same everywhere."""
    seen = np.bincount(rows.indices, minlength=rows.shape[1])[:FEATURES]
    rarity = 0.5 * (1.0 + np.log((1 + rows.shape[0]) / (1 + seen)))
    return np.concatenate([rarity, np.full(rows.shape[1] - FEATURES, DENSE)])


def _targets(samples: Sequence[Sample], folds: NDArray[Any]) -> dict[str | None, NDArray[Any]]:
    """What heads are fitted to: None is the label, and each hazard with enough rows has a head of its own."""
    labels = np.array([bool(sample.label) for sample in samples])
    hazards = np.array([sample.hazard or "" for sample in samples])
    found = {hazard: labels & (hazards == hazard) for hazard in sorted({*hazards} - {""})}
    enough = {h: rows for h, rows in found.items() if rows.sum() >= FEWEST and len({*folds[rows]}) > 1}
    return {None: labels, **enough}


def _heads(
    weights: Floats, parts: Sequence[tuple[str, csr_matrix]], scales: Sequence[Floats], features: Features, own: Heads
) -> Iterator[tuple[str, Floats]]:
    """The parts of a head over all columns, as heads of their own; the package's logit is folded in."""
    ends = np.cumsum([len(scale) for scale in scales])
    priors = iter(weights[ends[-1] :])
    for (part, _), scale, own_weights in zip(parts, scales, np.split(weights, ends)[:-1], strict=True):
        head = features.folded(own_weights * scale)
        if START[part] in own.axes:
            head = head + PRIOR * next(priors, 0.0) * np.asarray(own.axes[START[part]], dtype=np.float64)
        yield part, head


def _held_out(targets: Mapping[str | None, Target], folds: NDArray[Any], strength: float) -> Floats:
    """The logit of every row under heads that were fitted without its fold, shape (rows,)."""
    logits = np.zeros((len(targets), len(folds)))
    for fold in np.unique(folds):
        fitted, out = folds != fold, folds == fold
        truth = targets[None][1][fitted]
        if truth.all() or not truth.any():
            raise DataError("labelled rows of one kind share one prompt; label rows of more prompts")
        for row, (rows, labels) in enumerate(targets.values()):
            head, bias = logistic(rows[fitted], labels[fitted], None, strength)
            logits[row, out] = rows[out] @ head + bias
    return any_of(logits)


def _loss(logits: Floats, labels: NDArray[Any]) -> float:
    return float(np.logaddexp(0.0, np.where(labels, -logits, logits)).mean())


def _merged(own: Heads, fitted: Mapping[str, Heads]) -> Heads:
    """``own`` with the fitted axes instead of its own."""
    read = {part_of(name) for heads in fitted.values() for name in heads.axes}
    axes = {name: head for name, head in own.axes.items() if part_of(name) not in read}
    biases = {name: own.biases[name] for name in axes}
    calibration = dict(own.calibration)
    for heads in fitted.values():
        axes.update(heads.axes)
        biases.update(heads.biases)
        calibration.update(heads.calibration)
    about = {**own.about, **({"whole": True} if "response" in fitted else {})}
    return replace(own, axes=axes, biases=biases, calibration=calibration, about=about)
