"""Screen, revise, screen again: from a client's rows to a data set that may be trained on.

``preprocess`` reads files; ``screen_rows`` is the same for rows in memory.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from safefed import __version__
from safefed.config import ModelConfig, PolicyConfig, ReviseConfig, ScreenConfig, SourceConfig
from safefed.constitution import Screen, load_constitution
from safefed.dataset import DatasetWriter, finished, load_dataset_rows
from safefed.errors import ConfigError, DataError
from safefed.filters import Filter, load_filter
from safefed.filters.profile import ProfiledFilter
from safefed.generations import load_generator
from safefed.outcomes import LABELS, RESULTS
from safefed.progress import Advance, Progress, Silent
from safefed.records import Sample, content_hash
from safefed.remembering import Memory, generations
from safefed.scoring import Chunk, treatment
from safefed.screening import NO_POLICY, Reviser, Treatment, by_filter, by_label, keep_all
from safefed.sources import BadRow, read_rows, source_hashes
from safefed.stopwatch import Stopwatch
from safefed.store import sha256_bytes

__all__ = ["Reviser", "Treatment", "load_dataset_rows", "preprocess", "screen_rows"]

CHUNK, REVISE_CHUNK = 1024, 256
"""Rows per chunk: what is redone at most after a crash. A row that is revised may take a model minutes."""

CHUNK_CHARACTERS = 8 << 20
"""Text (of bad rows, bytes) that ends a chunk before it is full, so that huge rows do not add up in memory."""

_SCREEN, _REVISE, _MODEL, _SILENT = ScreenConfig(), ReviseConfig(), ModelConfig(), Silent()


def preprocess(
    source: str | Path | SourceConfig | Sequence[SourceConfig],
    out: str | Path,
    *,
    action: Treatment = "revise",
    screen: ScreenConfig = _SCREEN,
    revise: ReviseConfig = _REVISE,
    model: ModelConfig = _MODEL,
    progress: Progress = _SILENT,
    chunk: int | None = None,
    workers: int = 1,
    resume: bool = True,
    watch: Stopwatch | None = None,
) -> dict[str, Any]:
    """Screen the rows of files into the data set folder ``out``, resuming where an earlier call was cut off.

    Args:
        source: A file, or one or several sources with options, read one after the other.
        out: The folder; ``safefed.dataset`` says what it will hold.
        action: What becomes of unsafe rows: "revise", "drop", "oracle" (drop what the rows' own labels call unsafe)
            or "keep" (no screen at all). The last two load no filter.
        screen: Filter, threshold and policy.
        revise: The constitutional stage, for the action "revise"; its ``keep_originals`` holds for every action.
        model: What critiques and revises; loaded when the first row is flagged.
        progress: Where to show progress; nowhere by default.
        chunk: Rows that are committed together, by default 1,024, or 256 if they are to be revised. Equal rows are
            screened once within a chunk.
        workers: Processes that score rows, beside this one, which reads and writes; 1 = all in this one. More need an
            ``if __name__ == "__main__"`` guard in a script.
        resume: Whether to go on with an unfinished ``out``; otherwise it is refused.
        watch: Takes the time of "read", "screen", "revise" and "write", and counts the rows screened in this call.

    Returns:
        The manifest: see ``screen_rows``; also ``source`` and ``source_sha256`` (of every file read).

    Raises:
        ConfigError: ``out`` holds something else or was made with other settings, which are named.
        DataError: a source cannot be read, or not one of its rows is usable.
        IntegrityError: a file in ``out`` was changed.
    """
    _check_action(action, screen.policy)
    sources = _sources(source)
    rows = chain.from_iterable([read_rows(each) for each in sources])
    judge, reviser = _means(action, screen, revise, model)
    about = _about(sources, action, revise, model)
    return screen_rows(
        rows,
        Path(out),
        action=action,
        filter=judge,
        reviser=reviser,
        policy=screen.policy,
        keep_originals=revise.keep_originals,
        about=about,
        progress=progress,
        chunk=chunk,
        workers=workers,
        resume=resume,
        watch=watch,
    )


def preprocess_below(
    work: Path,
    title: str,
    sources: Sequence[SourceConfig],
    *,
    action: Treatment,
    screen: ScreenConfig,
    revise: ReviseConfig,
    model: ModelConfig,
) -> Path:
    """``preprocess`` into the folder of ``work`` named by ``title`` and a hash of all that decides what it writes.

    So another filter or other rows have another folder, and none is refused as another's. Returns the folder.

    Raises:
        ConfigError, DataError, IntegrityError: as ``preprocess``.
    """
    judge, reviser = _means(action, screen, revise, model)
    about = _about(sources, action, revise, model)
    policy, originals = screen.policy, revise.keep_originals
    settings = {**_settings(action, judge, reviser, policy, originals, _chunk_size(reviser)), **about}
    out = work / f"{title}-{content_hash(settings)[:12]}"
    rows = chain.from_iterable([read_rows(each) for each in sources])
    screen_rows(
        rows, out, action=action, filter=judge, reviser=reviser, policy=policy, keep_originals=originals, about=about
    )
    return out


def _means(
    action: Treatment, screen: ScreenConfig, revise: ReviseConfig, model: ModelConfig
) -> tuple[Filter | None, Reviser | None]:
    judge = load_filter(screen.filter, threshold=screen.threshold) if action in ("drop", "revise") else None
    if action != "revise":
        return judge, None
    generator = functools.partial(load_generator, revise.generator, model, batch_size=revise.batch_size)
    return judge, Reviser(load_constitution(revise.constitution), revise, generator)


def _about(
    sources: Sequence[SourceConfig], action: Treatment, revise: ReviseConfig, model: ModelConfig
) -> dict[str, Any]:
    about: dict[str, Any] = {"source": [each.model_dump(mode="json") for each in sources]}
    about["source_sha256"] = [source_hashes(each) for each in sources]
    if action == "revise":
        about["model"] = model.model_dump(mode="json") if revise.generator.kind == "local" else None
    return about


def _sources(source: str | Path | SourceConfig | Sequence[SourceConfig]) -> list[SourceConfig]:
    if isinstance(source, str | Path):
        return [SourceConfig(path=str(source))]
    sources = [source] if isinstance(source, SourceConfig) else list(source)
    if not sources:
        raise ConfigError("there is no source to read; give at least one file")
    return sources


def screen_rows(
    rows: Iterable[Sample | BadRow],
    out: Path,
    *,
    action: Treatment,
    filter: Filter | None = None,
    reviser: Reviser | None = None,
    policy: PolicyConfig = NO_POLICY,
    keep_originals: bool = True,
    about: Mapping[str, Any] = MappingProxyType({}),
    progress: Progress = _SILENT,
    chunk: int | None = None,
    workers: int = 1,
    resume: bool = True,
    watch: Stopwatch | None = None,
) -> dict[str, Any]:
    """``preprocess`` for rows in memory or from any reader.

    Args:
        rows: The same rows in the same order on every call for one ``out``; finished chunks are checked against them.
        out: The folder.
        action: As in ``preprocess``.
        filter: For "drop" and "revise".
        reviser: For "revise".
        policy: What becomes of flagged rows of some kinds instead, for "drop" (where it cannot revise) and "revise".
        keep_originals: Whether flagged answers may be written, for every action; a ``reviser`` may forbid it too.
        about: More to record; a later call with other values is refused.
        progress: Where to show progress; the total is 0 when the number of rows is not known.
        chunk: As in ``preprocess``.
        workers: As in ``preprocess``; more than 1 need a filter that ``load_filter`` finds by its name.
        resume: As in ``preprocess``.
        watch: As in ``preprocess``.

    Returns:
        The manifest: the settings; ``n_in`` = ``kept`` + ``revised`` + ``dropped`` + ``errored``; ``fallbacks``
        (revised by a refusal template), ``policy_kept`` (flagged rows that the policy kept), ``pairs``,
        ``unlabelled``, ``by_label`` (outcomes by the rows' own label), ``errors`` (by reason), ``generator_revision``
        (None if nothing was flagged), ``files`` with their sha-256; for "revise" ``generations`` (see
        ``safefed.remembering.generations``); with a filter profile ``drift`` (see ``safefed.filters.drift.Drift``;
        None if no row was scored).

    Raises:
        ConfigError: see ``preprocess``; or what the action needs was not given.
        DataError: not one row is usable.
        IntegrityError: a file in ``out`` was changed.
        SafefedError: a worker died; what is finished stays, to be resumed.
    """
    _check_action(action, policy)
    screen = _screen(action, filter, reviser)
    reviser = reviser if action == "revise" else None
    chunk = chunk or _chunk_size(reviser)
    originals = keep_originals and (reviser is None or reviser.config.keep_originals)
    settings = {**_settings(action, filter, reviser, policy, keep_originals, chunk), **about}
    if (manifest := finished(out, settings)) is not None:
        return manifest
    watch = watch or Stopwatch()
    screen = watch.timed("screen", screen)
    writer = DatasetWriter(out, settings, resume=resume)
    total = len(rows) if isinstance(rows, Sequence) else 0
    judge = filter if action in ("drop", "revise") else None
    chunks = watch.each("read", _chunks(rows, chunk))
    with progress.task(f"screen {out.name}", total) as advance, ExitStack() as opened:
        heard = functools.partial(opened.enter_context, progress.task("answers of the revising model", 0))
        memory = Memory(reviser, writer, heard)
        treated = treatment(screen, judge, memory.reviser, policy, workers, watch, keep_originals=originals)
        treat = opened.enter_context(treated)
        for batch, found in watch.each("screen", treat(_to_do(chunks, writer, advance))):
            with watch.stage("write"):
                writer.commit(batch.digest, found.files, found.counts + memory.counts, memory.facts)
                memory.forget()
            watch.rows += len(batch.rows)
            advance(len(batch.rows))
    return _finish(writer, {**_drift(filter, writer.counts), **(generations(writer.counts) if reviser else {})})


def _to_do(chunks: Iterable[Chunk], writer: DatasetWriter, advance: Advance) -> Iterator[Chunk]:
    """The chunks that are not on disk yet."""
    for chunk in chunks:
        if writer.holds(chunk.digest):
            advance(len(chunk.rows))
        else:
            yield chunk


def _check_action(action: str, policy: PolicyConfig) -> None:
    if action not in get_args(Treatment):
        raise ConfigError(f"action {action!r} is not known; choose one of {', '.join(get_args(Treatment))}")
    if action == "drop" and policy.revises:
        raise ConfigError("the policy revises some rows, which action 'drop' cannot; choose revise, or drop them too")


def _screen(action: Treatment, judge: Filter | None, reviser: Reviser | None) -> Screen:
    if action in ("keep", "oracle"):
        return keep_all if action == "keep" else by_label
    if judge is None:
        raise ConfigError(f"action {action!r} needs a filter; give one or choose keep or oracle")
    if action == "revise" and reviser is None:
        raise ConfigError("action 'revise' needs a reviser; give one or choose drop")
    return by_filter(judge)


def _chunk_size(reviser: Reviser | None) -> int:
    return REVISE_CHUNK if reviser else CHUNK


def _settings(
    action: Treatment,
    judge: Filter | None,
    reviser: Reviser | None,
    policy: PolicyConfig,
    keep_originals: bool,
    chunk: int,
) -> dict[str, Any]:
    settings: dict[str, Any] = {"schema": 1, "safefed": __version__, "action": action, "chunk": chunk}
    settings |= {} if keep_originals else {"keep_originals": False}
    if action in ("drop", "revise") and judge is not None:
        settings |= {"filter": judge.name, "filter_revision": judge.revision, "threshold": judge.threshold}
        settings |= {"policy": policy.model_dump(mode="json")}
    if reviser is not None:
        settings |= reviser.constitution.about()
        settings |= {"revise": reviser.config.decisive()}
    return settings


def _chunks(rows: Iterable[Sample | BadRow], size: int) -> Iterator[Chunk]:
    batch: list[Sample | BadRow] = []
    length = start = 0
    for row in rows:
        batch.append(row)
        length += _length(row)
        if len(batch) == size or length >= CHUNK_CHARACTERS:
            yield _chunk(start, batch)
            start, batch, length = start + len(batch), [], 0
    if batch:
        yield _chunk(start, batch)


def _length(row: Sample | BadRow) -> int:
    return sum([len(m.content) for m in row.messages]) if isinstance(row, Sample) else len(row.raw)


def _chunk(start: int, rows: Sequence[Sample | BadRow]) -> Chunk:
    return Chunk(content_hash([_key(row) for row in rows]), start, rows)


def _key(row: Sample | BadRow) -> Any:
    return [row.id, row.source, row.meta] if isinstance(row, Sample) else [row.where, row.reason, sha256_bytes(row.raw)]


def _drift(judge: Filter | None, counts: Mapping[str, int]) -> dict[str, Any]:
    """Under "drift": whether the rows still score like those of the filter's profile; {} without a profile."""
    if not isinstance(judge, ProfiledFilter):
        return {}
    found = judge.drift(counts)
    return {"drift": found.to_json() if found else None}


def _finish(writer: DatasetWriter, facts: Mapping[str, Any]) -> dict[str, Any]:
    counts = writer.counts
    errors = {key.removeprefix("error "): n for key, n in sorted(counts.items()) if key.startswith("error ")}
    if counts["errored"] == counts["n_in"]:
        writer.discard()
        reasons = ", ".join(f"{reason}: {n}" for reason, n in errors.items()) or "there is none"
        raise DataError(f"not one row of {counts['n_in']} can be used ({reasons}); check the source and its options")
    by_label = {label: {r: counts[f"label {label} {r}"] for r in RESULTS} for label in LABELS.values()}
    totals = {key: counts[key] for key in ("n_in", *RESULTS, "fallbacks", "policy_kept", "pairs")}
    totals["unlabelled"] = sum(by_label["unlabelled"].values())
    revision = writer.facts.get("generator_revision")
    return writer.finish(**totals, by_label=by_label, errors=errors, generator_revision=revision, **facts)
