"""What the models say to the prompts of an alignment, and what of it can be learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from safefed.config import ReviseConfig
from safefed.constitution.checks import is_looping
from safefed.eval.refusals import opens_with_refusal
from safefed.generate import Generator, LocalGenerator
from safefed.records import PreferencePair, Sample, Verdict

if TYPE_CHECKING:
    from safefed.filters import Filter

REFUSED = 0.5
"""The probability of the screen's "refusal" axis from which an answer counts as a refusal."""


@dataclass(frozen=True, slots=True)
class Helped:
    """A harmless prompt: the most trusted helpful answer to it, and an answer that declined it, "" if none did."""

    answer: Sample | None
    refusal: str


def declines(answer: Sample, verdict: Verdict) -> bool:
    """Whether ``answer`` is a refusal; by its first words where the screen does not know that axis."""
    if "refusal" in verdict.scores:
        return verdict.scores["refusal"] >= REFUSED
    return opens_with_refusal(answer.response)


def asked(generator: Generator, prompts: Sequence[Sample], config: ReviseConfig) -> list[Sample]:
    """Every prompt with the generator's answer."""
    texts = generator.generate([prompt.context for prompt in prompts], max_new_tokens=config.max_new_tokens)
    return [prompt.with_response(text.text) for prompt, text in zip(prompts, texts, strict=True)]


def begun(
    own: LocalGenerator, refusals: Sequence[Sample], screen: Filter, config: ReviseConfig, prefill: str
) -> list[PreferencePair]:
    """Each refusal over what the same model says when its answer is begun with ``prefill``, where that complies."""
    contexts = [refusal.context for refusal in refusals]
    texts = own.generate(contexts, max_new_tokens=config.max_new_tokens, prefill=prefill)
    said = [refusal.with_response(text.text) for refusal, text in zip(refusals, texts, strict=True)]
    return [
        PreferencePair(refusal.prompt, refusal.response, answer.response)
        for refusal, answer, verdict in zip(refusals, said, screen.score(said), strict=True)
        if not declines(answer, verdict)
    ]


def helped(
    own: Generator, base: Generator, harmless: Sequence[Sample], screen: Filter, config: ReviseConfig
) -> list[Helped]:
    """Each harmless prompt with help, the base model's before the global model's before the answer that it brings.

    The last is not screened: whoever gave the prompts answers for them, and a screen errs most on look-alikes.
    """
    answers = [asked(base, harmless, config), asked(own, harmless, config)]
    judged = [list(zip(found, screen.score(found), strict=True)) for found in answers]
    return [_helped(prompt, candidates) for prompt, *candidates in zip(harmless, *judged, strict=True)]


def _helped(prompt: Sample, candidates: Sequence[tuple[Sample, Verdict]]) -> Helped:
    helpful = [sample for sample, verdict in candidates if _helps(sample, verdict)]
    refusals = [sample.response for sample, verdict in candidates if sample.response and declines(sample, verdict)]
    given = [prompt] if prompt.response else []
    return Helped(next(iter([*helpful, *given]), None), next(iter(refusals), ""))


def _helps(sample: Sample, verdict: Verdict) -> bool:
    said = bool(sample.response) and not is_looping(sample.response)
    return said and verdict.action == "keep" and not declines(sample, verdict)
