"""Reading a constitution from YAML; all problems are found before one error is raised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from safefed.constitution.layouts import layout_of
from safefed.constitution.principles import Constitution, Line, Principle
from safefed.constitution.problems import checked
from safefed.constitution.read import SHIPPED, read_tree
from safefed.errors import ConfigError
from safefed.records import HAZARDS


class Document(BaseModel):
    """A constitution as it stands in its own file; ``safefed.constitution.principles`` has the fields of a principle.

    Attributes:
        extends: Another constitution (a name, or a path beside this file). Its principles and refusals hold here too,
            except principles that this document drops, or has itself under the same id.
        drop: Ids of the other constitution's principles that do not hold here.
        refusals: Answers of last resort; without any, those of ``extends``, or else of the default constitution.
    """

    model_config = ConfigDict(extra="forbid")

    name: Line
    version: Line | None = None
    extends: Line | None = None
    drop: list[Line] = []
    principles: tuple[Principle, ...] = ()
    refusals: Annotated[tuple[Line, ...], Field(min_length=1)] | None = None


def load_constitution(name_or_path: str | Path = "default") -> Constitution:
    """Read a constitution that ships (``SHIPPED``), or a YAML or JSON file.

    Every hazard S1..S14 must be answered by at least one principle (``hazards: all`` answers every one). JSON in one
    of the layouts of ``safefed.constitution.layouts`` is read too.

    Raises:
        ConfigError: no such file, or every problem of the file at once; problems of what it extends count as its own.
    """
    return _load(str(name_or_path), Path(), ())


def _load(source: str, base: Path, children: tuple[str, ...]) -> Constitution:
    """The constitution ``source``, seen from the folder ``base``; ``children`` are those that extend it."""
    shown = source if source in SHIPPED else str(base / source)
    key = source if source in SHIPPED else str(Path(shown).resolve())
    if key in children:
        raise ConfigError(f"{shown} extends itself; take one 'extends' out of the circle")
    tree = _own_layout(read_tree(shown), shown)
    document, problems = checked(Document, tree)
    parent = None
    try:
        parent = _parent(tree, Path(shown).parent, (*children, key))
    except ConfigError as error:
        problems.append("extends: " + str(error).replace("\n", "\n  "))
    else:
        problems += _as_a_whole(tree, parent) if isinstance(tree, dict) else []
    if document is None or problems:
        raise _refusal(shown, problems)
    return _merged(document, parent)


def _own_layout(tree: Any, shown: str) -> Any:
    layout = layout_of(tree)
    if layout is None:
        return tree
    published, problems = checked(layout, tree)
    if published is None:
        raise _refusal(shown, problems)
    return published.document(Path(shown).stem)


def _parent(tree: Any, base: Path, children: tuple[str, ...]) -> Constitution | None:
    extended = tree.get("extends") if isinstance(tree, dict) else None
    return _load(extended.strip(), base, children) if isinstance(extended, str) else None


def _refusal(shown: str, problems: Sequence[str]) -> ConfigError:
    lines = "\n".join(f"  {problem}" for problem in problems)
    return ConfigError(f"constitution {shown} has {len(problems)} problem(s):\n{lines}")


def _merged(document: Document, parent: Constitution | None) -> Constitution:
    inherited = {p.id: p for p in parent.principles if p.id not in document.drop} if parent else {}
    principles = inherited | {principle.id: principle for principle in document.principles}
    refusals = document.refusals or (parent or load_constitution()).refusals
    return Constitution.of(document.name, list(principles.values()), refusals, version=document.version or "")


def _as_a_whole(tree: Mapping[str, Any], parent: Constitution | None) -> Iterator[str]:
    """Problems that no principle has alone; what is wrong in itself is passed over here."""
    items = [item for item in _list(tree.get("principles")) if isinstance(item, dict)]
    ids = Counter(str(item.get("id")).strip() for item in items if item.get("id"))
    yield from (f"id {id_!r} is used {n} times; ids must be unique" for id_, n in ids.items() if n > 1)
    inherited = {principle.id: principle.hazards for principle in parent.principles} if parent else {}
    drop = [str(id_).strip() for id_ in _list(tree.get("drop"))]
    yield from (f"drop: {id_!r} is not the id of an inherited principle" for id_ in drop if id_ not in inherited)
    if not tree.get("principles") and not parent:
        yield "principles: must be a list with at least one principle"
        return
    answered = {str(hazard) for item in items for hazard in _hazards(item)}
    answered |= {hazard for id_, own in inherited.items() if id_ not in {*drop, *ids} for hazard in own}
    if missing := [f"{hazard} ({meaning})" for hazard, meaning in HAZARDS.items() if hazard not in answered]:
        yield f"no principle answers {', '.join(missing)}"


def _hazards(item: Mapping[str, Any]) -> Sequence[Any]:
    return tuple(HAZARDS) if item.get("hazards") == "all" else _list(item.get("hazards"))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
