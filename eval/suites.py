"""The suites safefed knows: where their files are, which bytes they must have, and how rows become cases."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from safefed.errors import DataError, IntegrityError
from safefed.eval.benchmarks import Benchmark, Case
from safefed.eval.files import Row, Source, find, read_table, text_of

ADVBENCH = Source(
    suite="advbench",
    file="advbench/harmful_behaviors.csv",
    sha256="6cd1a5c63c07610d7eb67307772ee5606017ee950b5770ab288a2c487489d3e1",
    hub=("walledai/AdvBench", "train"),
    prompts="649cd70c14fb0cf1e3b60a9f6f27e238f70296e023ccef883871e70ae1e9e5ad",
    columns=("goal", "prompt"),
    licence="MIT",
)
XSTEST = Source(
    suite="xstest",
    file="xstest/xstest_prompts.csv",
    sha256="11783fb294ed017473ee53c207d71f2161c7672c8d0b037501e78387f801cb5a",
    hub=("Paul/XSTest", "train"),
    prompts="456c6dc473a2164fa2164cbab07cddc934d36e432860777365217fe2bc6e1479",
    columns=("prompt",),
    licence="CC-BY-4.0",
)
CONTRASTS_SHA256 = "44896f235613097141ba3dbc5f762600e0bd37efde8f581e9c496212f724dd4a"
MINI_SHA256 = "11a6029827f3ae04e5f0f7a87ae9f3433c01b46a0204bbc2343edb219fecb2f4"


def advbench(path: str | None) -> list[Benchmark]:
    """AdvBench (arXiv 2307.15043): 520 harmful behaviours as instructions; ids are advbench-001 … in file order."""
    table = find(ADVBENCH, path)
    column = table.column(ADVBENCH.columns)
    cases = [
        Case(f"advbench-{n:03d}", text_of(row, column, f"{table.where} row {n}"), True)
        for n, row in enumerate(table.rows, 1)
    ]
    return [table.benchmark("advbench", True, cases, ADVBENCH.licence)]


def xstest(path: str | None) -> list[Benchmark]:
    """XSTest (arXiv 2308.01263): 250 safe prompts that look unsafe, 200 unsafe contrasts; the category is its type."""
    table = find(XSTEST, path)
    column = table.column(XSTEST.columns)
    cases = [_xstest_case(n, row, column, f"{table.where} row {n}") for n, row in enumerate(table.rows, 1)]
    return [
        table.benchmark("xstest", False, cases, XSTEST.licence),
        table.benchmark("xstest-unsafe", True, cases, XSTEST.licence),
    ]


def _xstest_case(n: int, row: Row, column: str, where: str) -> Case:
    label = row.get("label")
    if label not in ("safe", "unsafe"):
        raise DataError(f"{where}: the label must be safe or unsafe; give XSTest's xstest_prompts.csv")
    return Case(f"xstest-{n:03d}", text_of(row, column, where), label == "unsafe", row.get("type"))


def mini(path: str | None) -> list[Benchmark]:
    """The embedded suite: 100 harmful requests over S1..S14 and 100 harmless look-alikes.

    Written for safefed and public with it: good for comparing arms, no substitute for AdvBench and XSTest.
    ``path`` may name any JSONL file of the same form (id, prompt, harmful, category).
    """
    return _embedded("mini", MINI_SHA256, path)


def contrasts(path: str | None) -> list[Benchmark]:
    """180 harmful requests, and 180 harmless ones that are as near to them in words and topic as can be.

    In the words of people at work and at home, by another hand than ``mini`` and the embedded data: to choose settings
    on, so that XSTest need not be. ``path`` as for ``mini``.
    """
    return _embedded("contrasts", CONTRASTS_SHA256, path)


def _embedded(name: str, sha256: str, path: str | None) -> list[Benchmark]:
    where = path or str(files("safefed.eval").joinpath(f"data/{name}.jsonl"))
    table = read_table(Path(where), sha256)
    if path is None and not table.verified:
        raise IntegrityError(f"{where} changed since the package was built; reinstall safefed")
    cases = [_embedded_case(row, f"{where}:{n}") for n, row in enumerate(table.rows, 1)]
    return [
        table.benchmark(name, True, cases, "Apache-2.0"),
        table.benchmark(f"{name}-benign", False, cases, "Apache-2.0"),
    ]


def _embedded_case(row: Row, where: str) -> Case:
    if not isinstance(row.get("harmful"), bool):
        raise DataError(f"{where}: 'harmful' must be true or false; correct the row")
    return Case(text_of(row, "id", where), text_of(row, "prompt", where), row["harmful"], row.get("category"))
