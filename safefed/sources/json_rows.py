"""Rows of JSON Lines files, and of JSON documents: an array, or an object holding one list."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safefed.errors import DataError
from safefed.sources.rows import RAW_LIMIT, BadRow, Row
from safefed.sources.streams import is_utf8, lines, read_whole

DOCUMENT_LIMIT = 128 << 20
"""Bytes a JSON document may have, since it is held in memory; JSON Lines has no limit."""

_DECODER = json.JSONDecoder(parse_constant=lambda _: None)  # NaN, as pandas writes a missing cell
_SPACE = re.compile(r"[ \t\n\r]*")


def jsonl_rows(path: Path, limit: int) -> Iterator[Row | BadRow]:
    """One row a line; blank lines are no rows."""
    index, name = 0, path.name
    for line in lines(path, limit):
        raw = line.data.rstrip(b"\r\n")
        if not raw.strip():
            continue
        where = f"{name}:{line.number}"
        yield BadRow(index, where, "line_too_long", raw) if line.too_long else _parsed(index, where, raw)
        index += 1


def _parsed(index: int, where: str, raw: bytes) -> Row | BadRow:
    try:
        value = _DECODER.decode(raw.decode("utf-8"))
    except UnicodeDecodeError:
        return BadRow(index, where, "invalid_utf8", raw)
    except RecursionError:
        return BadRow(index, where, "too_deep", raw)
    except ValueError:
        return BadRow(index, where, "invalid_json", raw)
    return _row(index, where, value, raw)


def _row(index: int, where: str, value: Any, raw: bytes) -> Row | BadRow:
    if not isinstance(value, dict):
        return BadRow(index, where, "not_an_object", raw)
    return Row(index, where, value, raw)


def json_rows(path: Path, limit: int) -> Iterator[Row | BadRow]:
    """The elements of the document's array, or of the one list in its object.

    Raises:
        DataError: not JSON, not rows, or more than 128 MiB; with the line where it is known.
    """
    document = _Document(path)
    line, counted = 1, 0
    for index, (start, end, value) in enumerate(document.elements(document.array_start())):
        line, counted = line + document.text.count("\n", counted, start), start
        too_long = end - start > limit
        text = document.text[start : start + RAW_LIMIT if too_long else end]
        yield _element(index, f"{path.name}:{line}", value, text, too_long)


def _element(index: int, where: str, value: Any, text: str, too_long: bool) -> Row | BadRow:
    raw = text.encode("utf-8", "surrogateescape")
    if too_long:
        return BadRow(index, where, "line_too_long", raw)
    return _row(index, where, value, raw) if is_utf8(raw) else BadRow(index, where, "invalid_utf8", raw)


class _Document:
    """JSON text walked one element at a time, so that each row has its line and its own bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = read_whole(path, DOCUMENT_LIMIT)

    def error(self, position: int, what: str) -> DataError:
        line = self.text.count("\n", 0, position) + 1
        return DataError(f"{self.path}:{line} {what}; check the file with: python -m json.tool {self.path.name}")

    def skip(self, position: int) -> int:
        match = _SPACE.match(self.text, position)
        return match.end() if match else position

    def value(self, position: int) -> tuple[Any, int]:
        try:
            return _DECODER.raw_decode(self.text, position)
        except RecursionError:
            raise self.error(position, "is nested too deeply") from None
        except json.JSONDecodeError as error:
            raise self.error(error.pos, f"is not valid JSON ({error.msg})") from None
        except ValueError:
            raise self.error(position, "is not valid JSON (a number that is too long)") from None

    def separator(self, position: int, close: str) -> tuple[bool, int]:
        """Whether another item follows at ``position``, and where it (or what is after the bracket) begins."""
        position = self.skip(position)
        found = self.text[position : position + 1]
        if found not in (",", close) or not found:
            raise self.error(position, f"is not valid JSON (expected ',' or '{close}')")
        return found == ",", self.skip(position + 1)

    def first(self, start: int, close: str) -> tuple[bool, int]:
        """Like ``separator``, just inside the bracket at ``start``."""
        position = self.skip(start + 1)
        return (False, self.skip(position + 1)) if self.text[position : position + 1] == close else (True, position)

    def elements(self, start: int) -> Iterator[tuple[int, int, Any]]:
        """(start, end, value) of each element of the array at ``start``."""
        more, position = self.first(start, "]")
        while more:
            value, end = self.value(position)
            yield position, end, value
            more, position = self.separator(end, "]")
        if start == self.skip(0):
            self.check_end(position)

    def check_end(self, position: int) -> None:
        if position != len(self.text):
            raise self.error(position, "has more after the end of its JSON document")

    def array_start(self) -> int:
        start = self.skip(0)
        opening = self.text[start : start + 1]
        if opening == "[":
            return start
        if opening != "{":
            raise self.error(start, "is not a JSON array or object")
        lists = self.list_values(start)
        if len(lists) != 1:
            raise self.error(start, f"is an object with {len(lists)} lists; rows must be an array, or its only list")
        return lists[0]

    def list_values(self, start: int) -> list[int]:
        """Where the lists among the values of the object at ``start`` begin."""
        lists: list[int] = []
        more, position = self.first(start, "}")
        while more:
            key, end = self.value(position)
            colon = self.skip(end)
            if not isinstance(key, str) or self.text[colon : colon + 1] != ":":
                raise self.error(colon, "is not valid JSON (expected a key and ':')")
            begin = self.skip(colon + 1)
            value, end = self.value(begin)
            lists += [begin] if isinstance(value, list) else []
            more, position = self.separator(end, "}")
        self.check_end(position)
        return lists
