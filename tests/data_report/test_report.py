"""The page on one client's data: complete, honest, self-contained, and silent about what the rows say."""

import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from safefed.config import PolicyConfig, SourceConfig
from safefed.data_report import write_data_report
from safefed.errors import DataError, IntegrityError
from safefed.filters.combine import to_verdict
from safefed.preprocessing import screen_rows
from safefed.records import Sample, Verdict
from safefed.sources import BadRow, read_rows
from safefed.stopwatch import Stopwatch
from safefed.store import write_jsonl, write_manifest

CANARY = "canary-of-the-client <script>alert('x')</script>"


class NumberFilter:
    """Scores an answer by the number that it ends with, out of 100."""

    name, revision = "numbers", "1"

    def __init__(self, threshold: float = 0.5):
        self.threshold = threshold

    def score(self, samples: Sequence[Sample]) -> list[Verdict]:
        return [self._verdict(sample) for sample in samples]

    def _verdict(self, sample: Sample) -> Verdict:
        score = int(sample.response.split()[-1]) / 100
        settings: dict[str, Any] = {"name": "numbers", "revision": "1", "threshold": self.threshold, "category": "S2"}
        return to_verdict(sample.id, [{"response": score}], **settings)


def some_rows(numbers: Sequence[int] = tuple(range(0, 100, 5))) -> list[Sample | BadRow]:
    return [Sample.of(f"{CANARY} {n}", f"{CANARY} {n}", unsafe=n > 60) for n in numbers]


def screened(out: Path, rows: Sequence[Sample | BadRow] | None = None, **options: Any) -> dict[str, Any]:
    settings = {"action": "drop", "filter": NumberFilter(), "chunk": 8}
    return screen_rows(some_rows() if rows is None else rows, out, **{**settings, **options})


def page(folder: Path, **options: Any) -> str:
    return write_data_report(folder, **options).read_text("utf-8")


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> tuple[dict[str, Any], str]:
    """The manifest and the page of a data set with a bad row, compared with a stricter one, with its time."""
    folder, watch = tmp_path_factory.mktemp("full"), Stopwatch()
    rows = [*some_rows(), BadRow(7, "rows.jsonl:8", "invalid_json", b"{")]
    manifest = screened(folder / "a", rows, watch=watch)
    screened(folder / "strict", rows, filter=NumberFilter(0.3))
    return manifest, page(folder / "a", compare=[folder / "strict"], watch=watch)


class Balance(HTMLParser):
    """Collects tags that are closed out of order, and everything that the page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)
        self.handle_startendtag(tag, attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [tag] if tag in ("script", "link", "img", "iframe") else []
        self.fetched += [
            v or "" for k, v in attrs if k in ("src", "href", "xlink:href") and not (v or "").startswith("#")
        ]

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def cells(html: str, row: str) -> list[str]:
    """The table cells of the first row whose header is ``row``."""
    line = next(line for line in html.splitlines() if re.search(rf'scope="row">(<[^>]*></i>)?{re.escape(row)}<', line))
    return re.findall(r"<td[^>]*>([^<]*)</td>", line)


def test_the_page_is_well_formed_and_needs_nothing_from_outside(full):
    balance = Balance()
    balance.feed(full[1])

    assert balance.wrong == balance.open == balance.fetched == []
    assert not re.search(r"@import|url\((?!#)", full[1])
    assert set(re.findall(r"https?://[^/\"]*", full[1])) <= {"http://www.w3.org"}  # names of SVG, nothing to fetch


def test_the_counts_are_those_of_the_manifest_and_the_verdicts(full):
    manifest, html = full

    assert "<h1>Of 21 rows 10 were kept, 10 dropped and 1 could not be used.</h1>" in html
    for result in ("kept", "revised", "dropped", "errored"):
        by_label = [str(manifest["by_label"][label][result]) for label in ("unsafe", "safe")]
        rows, _, *labelled = cells(html, result)
        assert [rows, *labelled] == [str(manifest[result]), *by_label]
    assert cells(html, "invalid_json") == ["1"]
    assert cells(html, "S2 non-violent crimes") == ["10", "100 %"]
    assert "Of 7 rows labelled unsafe, 7 (100 %) were revised or dropped." in html


def test_without_being_asked_the_page_says_nothing_of_what_the_rows_say(full):
    assert "canary" not in full[1]


def test_another_filter_on_the_same_rows_is_compared(full):
    html = full[1]

    assert "Compared with strict" in html
    assert (cells(html, "Flagged here"), cells(html, "Not flagged here")) == (["10", "0"], ["4", "6"])
    assert "κ = 0.60" in html
    assert "1 row that one of them could not use: left out" in html
    assert "Flagged there only" in html


def test_time_is_shown_where_it_is_known_and_is_nowhere_in_the_data(full):
    manifest, html = full

    assert "21 rows in" in html
    assert "seconds" not in json.dumps(manifest)


@pytest.fixture
def clean(tmp_path) -> Path:
    """A data set that was made from a file."""
    path = tmp_path / "in.jsonl"
    write_jsonl(path, ({"prompt": r.prompt, "completion": r.response} for r in some_rows() if isinstance(r, Sample)))
    source = SourceConfig(path=str(path))
    screened(tmp_path / "clean", list(read_rows(source)), about={"source": [source.model_dump(mode="json")]})
    return tmp_path / "clean"


def test_with_show_text_the_page_says_so_and_escapes_what_rows_say(clean):
    html = page(clean, show_text=True)

    assert "This page shows what rows say" in html
    assert "canary-of-the-client &lt;script&gt;" in html
    assert "<script" not in html


def test_text_goes_to_a_page_of_its_own_and_leaves_the_other_as_it_is(clean):
    before = page(clean)

    write_data_report(clean, show_text=True)

    assert (clean / "report-with-text.html").exists()
    assert (clean / "report.html").read_text("utf-8") == before


def test_text_that_is_not_at_hand_is_an_error_and_not_an_empty_page(tmp_path, clean):
    screened(tmp_path / "rows")

    with pytest.raises(DataError, match="leave out --show-text"):
        page(tmp_path / "rows", show_text=True)
    (tmp_path / "in.jsonl").unlink()
    with pytest.raises(DataError, match=r"in\.jsonl"):
        page(clean, show_text=True)


@pytest.mark.parametrize(
    ("numbers", "headline", "warned"),
    [
        ([1, 2, 3], "All 3 rows were kept.", False),
        ([90, 95], "Of 2 rows 2 were dropped.", True),
        ([1, 90], "Of 2 rows 1 was kept and 1 dropped.", False),
    ],
)
def test_nothing_flagged_and_everything_flagged_both_read_well(tmp_path, numbers, headline, warned):
    screened(tmp_path, some_rows(numbers))

    html = page(tmp_path)

    assert f"<h1>{headline}</h1>" in html
    assert ("Every row that could be screened was flagged" in html) == warned


def test_a_data_set_of_errors_only_still_renders(tmp_path):
    manifest = screened(tmp_path / "some")
    broken = Verdict("0" * 64, "numbers", {}, 1.0, action="error", reason="nothing-to-score")
    folder = tmp_path / "none"
    files = {name: [broken.to_json()] if name == "verdicts.jsonl" else [] for name in manifest.pop("files")}
    for name, rows in files.items():
        write_jsonl(folder / name, rows)
    none = {label: dict.fromkeys(counts, 0) for label, counts in manifest["by_label"].items()}
    counts = {"n_in": 1, "kept": 0, "revised": 0, "dropped": 0, "errored": 1, "errors": {"nothing-to-score": 1}}
    write_manifest(folder, files, **{**manifest, **counts, "by_label": none})

    html = page(folder)

    assert "<h1>Of 1 row 1 could not be used.</h1>" in html
    assert "<h2>Scores</h2>" not in html
    assert cells(html, "nothing-to-score") == ["1"]


def test_what_was_not_screened_is_said(tmp_path):
    screened(tmp_path, action="keep", filter=None)

    html = page(tmp_path)

    assert "Nothing was screened" in html
    assert "<h2>Scores</h2>" not in html


def test_what_a_policy_kept_stands_out(tmp_path):
    screened(tmp_path, policy=PolicyConfig(category={"S2": "keep"}))

    html = page(tmp_path)

    assert "The policy kept 10 rows that the filter flagged." in html
    assert "S2 keep" in html
    assert "policy-keep: harmful-response" in html


def test_the_page_is_the_same_each_time_and_no_part_of_the_data_set(tmp_path):
    manifest = screened(tmp_path)
    html = page(tmp_path)

    assert page(tmp_path) == html
    assert "<h2>Time</h2>" not in html
    assert screened(tmp_path) == manifest
    assert "report.html" not in manifest["files"]


def test_a_page_is_not_written_on_data_that_is_not_whole(tmp_path):
    with pytest.raises(DataError, match="no finished data set"):
        page(tmp_path)
    screened(tmp_path / "out")
    with (tmp_path / "out" / "verdicts.jsonl").open("a") as handle:
        handle.write("{}\n")
    with pytest.raises(IntegrityError, match=r"verdicts\.jsonl"):
        page(tmp_path / "out")

    assert not (tmp_path / "out" / "report.html").exists()
