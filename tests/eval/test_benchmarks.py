import csv
import json
from collections import Counter

import pytest

from safefed.errors import ConfigError, DataError, IntegrityError
from safefed.eval.benchmarks import Benchmark, Case, check, listed, load_suite
from safefed.overlap import Index
from safefed.records import HAZARDS

PLANTED = "a secret planted prompt"


def bench(cases, metric="safe rate", name="toy"):
    return Benchmark(name, metric, tuple(cases), "Apache-2.0", "0" * 64)


def case(case_id, prompt="How?", harmful=True):
    return Case(case_id, prompt, harmful)


def write_csv(path, rows):
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def test_mini_has_a_hundred_harmful_requests_over_all_hazards_and_a_hundred_look_alikes():
    harmful, benign = load_suite("mini")

    assert (harmful.name, harmful.metric, len(harmful.cases)) == ("mini", "safe rate", 100)
    assert (benign.name, benign.metric, len(benign.cases)) == ("mini-benign", "over-refusal", 100)
    assert harmful.verified
    assert benign.verified
    assert min(Counter(c.category for c in harmful.cases).values()) >= 7
    assert {c.category for c in harmful.cases} == {c.category for c in benign.cases} == set(HAZARDS)


def test_contrasts_has_as_many_harmless_as_harmful_requests_and_repeats_none_of_mini():
    harmful, benign = load_suite("contrasts")

    assert (harmful.name, harmful.metric, len(harmful.cases)) == ("contrasts", "safe rate", 180)
    assert (benign.name, benign.metric, len(benign.cases)) == ("contrasts-benign", "over-refusal", 180)
    assert harmful.verified
    assert set(Counter(c.category for c in benign.cases).values()) == {20}
    assert not list(Index(prompts_of("mini")).find(prompts_of("contrasts")))


def prompts_of(suite: str) -> list[str]:
    return [case.prompt for benchmark in load_suite(suite) for case in benchmark.cases]


def test_no_cases_is_an_error():
    with pytest.raises(DataError, match="toy: it has no cases"):
        check([bench([])])


def test_duplicate_ids_and_prompts_are_named_by_id_and_never_by_text():
    cases = [case("a", PLANTED), case("b", f"{PLANTED.upper()}!"), case("c", "x"), case("c", "y"), case("d", " ")]

    with pytest.raises(DataError) as caught:
        check([bench(cases)])

    message = str(caught.value)
    assert "ids used twice: c = c" in message
    assert "prompts that are the same: a = b" in message
    assert "empty prompts: d" in message
    assert PLANTED not in message.lower()


def test_a_harmless_case_in_a_safe_rate_benchmark_is_an_error():
    with pytest.raises(DataError, match="wrong side: b"):
        check([bench([case("a"), case("b", "other", harmful=False)])])


def test_two_benchmarks_of_one_name_and_names_that_are_paths_are_errors():
    with pytest.raises(DataError, match="there are 2 of this name"):
        check([bench([case("a")]), bench([case("a")])])
    with pytest.raises(DataError, match="a name may only have"):
        check([bench([case("a")], name="../x")])


def test_an_unknown_suite_is_an_error_that_lists_the_known_ones():
    with pytest.raises(
        ConfigError, match="no benchmark suite called 'nope'; choose from advbench, contrasts, mini, xstest"
    ):
        load_suite("nope")


def test_another_file_at_an_explicit_path_is_allowed_and_unverified(tmp_path):
    path = write_csv(tmp_path / "a.csv", [{"goal": "Do harm", "target": "Sure"}, {"goal": "Do more", "target": "Sure"}])

    (advbench,) = load_suite("advbench", path)

    assert [c.id for c in advbench.cases] == ["advbench-001", "advbench-002"]
    assert not advbench.verified


def test_another_file_under_safefed_data_is_refused(tmp_path, monkeypatch):
    (tmp_path / "advbench").mkdir()
    write_csv(tmp_path / "advbench" / "harmful_behaviors.csv", [{"goal": "Do harm"}])
    monkeypatch.setenv("SAFEFED_DATA", str(tmp_path))

    with pytest.raises(IntegrityError, match=r"not the known advbench file.*benchmark\.paths\.advbench"):
        load_suite("advbench")


def test_xstest_is_split_into_safe_prompts_and_unsafe_contrasts(tmp_path):
    rows = [
        {"id": "1", "prompt": "kill a process", "type": "homonyms", "label": "safe"},
        {"id": "2", "prompt": "kill a person", "type": "contrast_homonyms", "label": "unsafe"},
    ]

    safe, unsafe = load_suite("xstest", write_csv(tmp_path / "x.csv", rows))

    assert (safe.name, safe.metric, [c.id for c in safe.cases]) == ("xstest", "over-refusal", ["xstest-001"])
    assert (unsafe.name, unsafe.metric, [c.id for c in unsafe.cases]) == ("xstest-unsafe", "safe rate", ["xstest-002"])
    assert unsafe.cases[0].category == "contrast_homonyms"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", b"goal,target\n", "no rows with a column goal or prompt"),
        ("x.csv", b"text\nhello\n", "no rows with a column goal or prompt"),
        ("x.csv", b"goal\n\xff\n", "not UTF-8"),
        ("x.jsonl", b'{"goal": "a"}\n{"goal": 3}\n', "row 2: 'goal' is missing or not text"),
        ("x.jsonl", b'{"goal": "a"}\n{oops\n', r"x\.jsonl:2 is not JSON"),
        ("x.jsonl", b"[" * 100_000, r"x\.jsonl:1 is not JSON"),
        ("x.jsonl", b"[1]\n", "not a JSON object"),
    ],
)
def test_a_bad_file_is_an_error_that_says_where(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError, match=message):
        load_suite("advbench", str(tmp_path / name))


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        load_suite("advbench", str(tmp_path / "absent.csv"))


def test_a_suite_in_the_form_of_mini_can_be_given(tmp_path):
    rows = [
        {"id": "h", "prompt": "harm", "harmful": True, "category": "S1"},
        {"id": "b", "prompt": "help", "harmful": False},
    ]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    harmful, benign = load_suite("mini", str(path))

    assert [c.id for c in harmful.cases + benign.cases] == ["h", "b"]
    assert not harmful.verified


def test_a_limit_takes_evenly_spaced_cases():
    limited = bench([case(str(i), f"p{i}") for i in range(10)]).limited(4)

    assert [c.id for c in limited.cases] == ["0", "2", "5", "7"]


def test_a_long_list_of_ids_is_cut():
    assert listed(map(str, range(10))) == "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"
