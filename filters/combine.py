"""The one place that turns the axes into a decision.

A training row is unsafe when its prompt is harmful *and* its answer complies, or when the answer is harmful in itself:

    unsafe = max(prompt x (1 - refusal), response)                                              ``combine``
    log odds of unsafe = log odds of response                                                   ``combine_judged``
                         + (1 - refusal / 2) x (log odds of prompt, within ±2, / 2 + 0.6)

The first is the default: an answer that does not decline counts as complying (fail closed). The second is for filters
whose response axis was fitted to tell whether an answer complies: not declining is not complying, an answer may be
ironic, generic or about something else. There the request moves the odds of its answer:
from .5, a harmful one at most to .83, a harmless one at least to .40, so that no request alone condemns an answer or
hides a harmful one. An opening that declines takes half of that away and not all: many an answer declines first and
complies then. The four numbers were chosen on held-out folds of what the heads are fitted on.

An axis that a filter does not know leaves the formula: without "refusal" every answer counts as complying (fail
closed), without "prompt" or for a lone answer only "response" counts, and a bare prompt is as unsafe as itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from safefed.filters.base import AXES
from safefed.filters.windows import Exchange, exchanges
from safefed.records import Action, Sample, Verdict

OPENING = 300
"""Characters of a reply that the refusal axis reads: who declines does so at once."""

REQUEST, MOST, SHIFT, EXCUSE = 0.5, 2.0, 0.6, 0.5
"""See ``combine_judged`` above."""

Rule = Callable[[Mapping[str, float]], float]
"""Axis scores -> the probability that the row must not be trained on as it is."""

AxisScorer = Callable[[str, Sequence[str]], Sequence[float]]
"""``(axis, texts) -> one probability per text``."""


def combine(scores: Mapping[str, float]) -> float:
    """The probability that a row with these axis scores must not be trained on as it is; NaN if a score is NaN.

    Args:
        scores: Any of "prompt", "response" and "refusal", each in [0, 1].

    Raises:
        ValueError: neither "prompt" nor "response" is there, so that nothing was measured.
    """
    if "prompt" not in scores and "response" not in scores:
        raise ValueError("neither the prompt nor the response was scored")
    if any(map(math.isnan, scores.values())):
        return math.nan
    return max(_undeclined(scores), scores.get("response", 0.0))


def combine_judged(scores: Mapping[str, float]) -> float:
    """``combine`` for filters whose response axis judges whether the answer complies."""
    if not {"prompt", "response"} <= scores.keys() or any(math.isnan(value) for value in scores.values()):
        return combine(scores)
    asked = REQUEST * min(max(_log_odds(scores["prompt"]), -MOST), MOST) + SHIFT
    odds = _log_odds(scores["response"]) + (1.0 - EXCUSE * scores.get("refusal", 0.0)) * asked
    return 0.5 * (1.0 + math.tanh(0.5 * odds))


def deciding_axis(scores: Mapping[str, float]) -> Literal["prompt", "response"] | None:
    """Which side weighs more: "response" is the harmful answer, "prompt" the harmful request that was not declined.

    "response" where both are equal, None where nothing was measured.
    """
    if "prompt" not in scores and "response" not in scores:
        return None
    return "response" if scores.get("response", -1.0) >= _undeclined(scores) else "prompt"


def _undeclined(scores: Mapping[str, float]) -> float:
    return scores.get("prompt", 0.0) * (1.0 - scores.get("refusal", 0.0))


def _log_odds(probability: float) -> float:
    inside = min(max(probability, 1e-6), 1.0 - 1e-6)
    return math.log(inside / (1.0 - inside))


def _reason(scores: Mapping[str, float], unsafe: float, threshold: float) -> str:
    if unsafe < threshold:
        return "below-threshold"
    if deciding_axis(scores) == "response":
        return "harmful-response"
    return "harmful-prompt-complied" if "response" in scores else "harmful-prompt"


def to_verdict(
    sample_id: str,
    rows: Sequence[Mapping[str, float]],
    *,
    name: str,
    revision: str,
    threshold: float,
    category: str | None = None,
    rule: Rule = combine,
) -> Verdict:
    """The verdict on one sample from the axis scores of its exchanges; the worst exchange decides.

    Action "keep" below ``threshold``, "revise" from it on; "error" with ``unsafe`` 1.0 when there is nothing to score
    or a score is not a number in [0, 1].
    """
    scored = [row for row in rows if "prompt" in row or "response" in row]
    if not scored:
        return _error(sample_id, name, revision, "nothing-to-score")
    if not all(0.0 <= value <= 1.0 for row in scored for value in row.values()):
        return _error(sample_id, name, revision, "score-not-a-probability")
    found = list(map(rule, scored))
    unsafe = max(found)
    worst = scored[found.index(unsafe)]
    action: Action = "revise" if unsafe >= threshold else "keep"
    reason = _reason(worst, unsafe, threshold)
    return Verdict(sample_id, name, dict(worst), unsafe, category, action, reason, revision)


def _error(sample_id: str, name: str, revision: str, reason: str) -> Verdict:
    return Verdict(sample_id, name, {}, 1.0, None, "error", reason, revision)


def score_exchanges(
    samples: Sequence[Sample],
    score: AxisScorer,
    axes: Sequence[str] = AXES,
    view: Callable[[Sample], Sequence[Exchange]] = exchanges,
) -> list[list[dict[str, float]]]:
    """The axis scores of every exchange of every sample; each distinct text is scored once per axis."""
    talks = [view(sample) for sample in samples]
    known = {axis: _score_once(talks, axis, score) for axis in axes}
    return [[_row(exchange, known) for exchange in talk] for talk in talks]


def distinct_texts(samples: Sequence[Sample], axes: Sequence[str] = AXES) -> list[str]:
    """Every text that one of ``axes`` is about, once: for a model that reads a text once for all its axes."""
    talks = (exchanges(sample) for sample in samples)
    return list(dict.fromkeys(text for talk in talks for row in talk for axis in axes for text in row.get(axis, ())))


def _score_once(talks: Sequence[Sequence[Exchange]], axis: str, score: AxisScorer) -> dict[str, float]:
    texts = list(dict.fromkeys(text for talk in talks for exchange in talk for text in exchange.get(axis, ())))
    return dict(zip(texts, map(float, score(axis, texts)), strict=True)) if texts else {}


def _row(exchange: Exchange, known: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    row = {}
    for axis, table in known.items():
        values = [table[text] for text in exchange.get(axis, ())]
        if values:
            row[axis] = math.nan if any(map(math.isnan, values)) else max(values)
    return row
