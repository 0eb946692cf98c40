"""A filter profile: how a filter's scores read at one site, as ``safefed calibrate`` found on its labelled rows.

One JSON file without any text of the rows. ``profile:PATH.json`` is the filter it was made for, with calibrated
probabilities and the profile's threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from safefed.config import Section, Share, parse
from safefed.errors import ConfigError, IntegrityError
from safefed.filters.calibration import Isotonic, Platt
from safefed.filters.drift import N_BINS, RAW, Drift, compare, counted
from safefed.filters.operating import Figures, Goal
from safefed.filters.registry import load_filter
from safefed.records import Sample, Verdict, content_hash
from safefed.store import read_json, write_json

FORMAT = 1
KIND = "profile"
Count = Annotated[int, Field(ge=0)]


class Profile(Section):
    """What a profile file holds, beside its ``format`` and the ``sha256`` of the rest.

    Attributes:
        filter: The filter's name, as the configuration would give it.
        filter_revision: Its revision; the profile is good for no other.
        calibration: The map from its scores to probabilities.
        goal: What the threshold was chosen for.
        threshold: The calibrated probability from which a row is flagged.
        before: The filter by itself, with its own threshold, on the labelled rows.
        after: The same calibrated, each row by a map and a threshold that were made without it: what to expect.
        n: Labelled rows, each text counted once.
        unsafe_share: The share of them that is unsafe.
        auroc: How well the filter ranks them; calibration does not change it.
        auroc_ci95: Its bootstrap interval.
        scores: Histogram of the raw scores (``safefed.filters.drift.score_bin``), for ``drift``.
        rows_sha256: Hash of the rows' ids.
    """

    filter: str
    filter_revision: str
    calibration: Annotated[Platt | Isotonic, Field(discriminator="method")]
    goal: Goal
    threshold: Share
    before: Figures
    after: Figures
    n: Annotated[int, Field(ge=1)]
    unsafe_share: Share
    auroc: Share
    auroc_ci95: Annotated[list[Share], Field(min_length=2, max_length=2)]
    scores: Annotated[list[Count], Field(min_length=N_BINS, max_length=N_BINS)]
    rows_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @field_validator("filter")
    @classmethod
    def _scores_by_itself(cls, name: str) -> str:
        if name.partition(":")[0] == KIND:
            raise ValueError("a profile cannot be of a profile")
        return name

    @property
    def sha256(self) -> str:
        """Hash of everything in it."""
        return content_hash({"format": FORMAT, **self.model_dump(mode="json")})


def write_profile(profile: Profile, path: Path) -> None:
    """Write ``profile`` atomically."""
    write_json(path, {"format": FORMAT, **profile.model_dump(mode="json"), "sha256": profile.sha256})


def read_profile(path: Path) -> Profile:
    """The profile in ``path``.

    Raises:
        ConfigError: there is no such file, or a value in it is impossible.
        IntegrityError: it is no profile, of another format, or was changed since it was written.
    """
    if not path.is_file():
        raise ConfigError(
            f"there is no profile {path}; make one with: safefed calibrate DATA --label COL --filter NAME --out {path} "
            "(in a TOML file, profile:./NAME.json is the file beside it)"
        )
    tree = read_json(path)
    if not isinstance(tree, dict) or "sha256" not in tree:
        raise IntegrityError(f"{path} is not a filter profile; give the file that safefed calibrate --out wrote")
    if tree.get("format") != FORMAT:
        raise IntegrityError(
            f"{path} has profile format {tree.get('format')!r}, this safefed reads {FORMAT}; calibrate again"
        )
    if not _sealed(tree):
        raise IntegrityError(f"{path} was changed since it was written; calibrate again, or set another --threshold")
    return parse(Profile, {key: value for key, value in tree.items() if key not in ("format", "sha256")}, str(path))


def _sealed(tree: Mapping[str, Any]) -> bool:
    try:
        return bool(tree["sha256"] == content_hash({key: value for key, value in tree.items() if key != "sha256"}))
    except ValueError:  # a NaN, which safefed never writes
        return False


def base_name(name: str) -> str:
    """The filter that does the scoring for ``name``: that of a profile, otherwise ``name`` itself.

    Raises:
        ConfigError: see ``read_profile``.
        IntegrityError: see ``read_profile``.
    """
    kind, _, argument = name.partition(":")
    return read_profile(Path(argument)).filter if kind == KIND else name


class ProfiledFilter:
    """The filter of a profile with calibrated probabilities; verdicts keep the raw one as ``scores["raw"]``.

    Categories are the filter's own: a row that only the profile flags may have none.

    Args:
        argument: The profile's path.
        threshold: Another calibrated probability than the profile's from which to flag.

    Raises:
        ConfigError: no such profile, or it was made for another revision of its filter.
        IntegrityError: the profile was changed.
    """

    def __init__(self, argument: str | None = None, *, threshold: float | None = None) -> None:
        if not argument:
            raise ConfigError("filter 'profile' needs its file; write profile:PATH.json")
        self.name = f"{KIND}:{argument}"
        self.profile = read_profile(Path(argument))
        self._inner = load_filter(self.profile.filter)
        if self._inner.revision != self.profile.filter_revision:
            raise ConfigError(
                f"{argument} was made for filter {self.profile.filter!r} at revision "
                f"{self.profile.filter_revision[:12]}, which is now at {self._inner.revision[:12]}; run again: "
                f"safefed calibrate DATA --label COL --filter {self.profile.filter} --out {argument}"
            )
        self.threshold = self.profile.threshold if threshold is None else threshold
        self.revision = content_hash([self._inner.revision, self.profile.sha256, self.threshold])

    def score(self, samples: Sequence[Sample]) -> list[Verdict]:
        """See ``Filter``; a row that the inner filter could not score stays an error."""
        verdicts = self._inner.score(samples)
        unsafe = self.profile.calibration([verdict.unsafe for verdict in verdicts]).tolist()
        return [self._verdict(verdict, p) for verdict, p in zip(verdicts, unsafe, strict=True)]

    def _verdict(self, raw: Verdict, unsafe: float) -> Verdict:
        if raw.action == "error":
            return replace(raw, filter=self.name, filter_revision=self.revision)
        flagged = unsafe >= self.threshold
        reason = "below-threshold"
        if flagged:
            reason = raw.reason if raw.action == "revise" else "above-calibrated-threshold"
        return Verdict(
            raw.sample_id,
            self.name,
            {**raw.scores, RAW: raw.unsafe},
            unsafe,
            raw.category if flagged else None,
            "revise" if flagged else "keep",
            reason,
            self.revision,
        )

    def drift(self, counts: Mapping[str, int]) -> Drift | None:
        """How far the scores that screening counted are from the profile's; None if it counted none."""
        return compare(self.profile.scores, counted(counts))
