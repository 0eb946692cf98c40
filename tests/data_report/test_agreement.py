"""Two filters on the same rows."""

from pathlib import Path

import pytest

from safefed.data_report.agreement import Agreement, agreement
from safefed.errors import DataError
from safefed.filters.quality import decisions
from safefed.records import Verdict
from safefed.store import write_jsonl

ACTIONS = {"f": "drop", "k": "keep", "e": "error"}


def verdicts(flags: str, scores: float = 0.5) -> list[Verdict]:
    return [Verdict(f"{n:064x}", "toy", {}, scores, action=ACTIONS[flag]) for n, flag in enumerate(flags)]  # type: ignore[arg-type]


def folder(path: Path, rows: list[Verdict]) -> Path:
    write_jsonl(path / "verdicts.jsonl", (row.to_json() for row in rows))
    return path


def compared(tmp_path: Path, here: str, there: str) -> Agreement:
    return agreement(folder(tmp_path / "here", verdicts(here)), folder(tmp_path / "there", verdicts(there)))


def test_the_table_counts_who_flags_what_and_kappa_is_that_of_the_flags(tmp_path):
    found = compared(tmp_path, "fffkkkkkke", "ffkfkkkkef")

    assert found.table == {(True, True): 2, (True, False): 1, (False, True): 1, (False, False): 4}
    assert (found.n, found.n_different, found.n_unscored) == (8, 2, 2)
    expected = decisions([1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 1, 0, 0, 0, 0]).kappa
    assert found.kappa == pytest.approx(expected)


def test_rows_where_they_differ_are_named_on_the_side_that_flags_them(tmp_path):
    found = compared(tmp_path, "fk", "kf")

    assert [here.sample_id[-1] for here, _ in found.only_here.values] == ["0"]
    assert [here.sample_id[-1] for here, _ in found.only_there.values] == ["1"]


@pytest.mark.parametrize("flags", ["kkk", "fff", "fkf"])
def test_full_agreement_has_kappa_1(tmp_path, flags):
    assert compared(tmp_path, flags, flags).kappa == 1.0


def test_nothing_screened_by_both_is_no_agreement_at_all(tmp_path):
    assert compared(tmp_path, "ef", "ke").kappa is None


@pytest.mark.parametrize("there", ["ff", "ffff"])
def test_other_rows_are_refused_by_number(tmp_path, there):
    with pytest.raises(DataError, match=r"row \d differs"):
        compared(tmp_path, "fff", there)
