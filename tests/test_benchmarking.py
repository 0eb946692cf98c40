import json

import pytest

from safefed.benchmarking import as_summary, benchmark, benchmark_model, load_benchmarks, load_judges, merge_seeds
from safefed.config import BenchmarkConfig, ModelConfig
from safefed.errors import ConfigError, DataError, IntegrityError
from safefed.eval.benchmarks import Benchmark, Case
from safefed.eval.judges import load_judge
from safefed.eval.table import terminal_table
from safefed.generate import Generation
from safefed.progress import Silent
from safefed.records import Verdict
from safefed.store import read_json

CONFIG = BenchmarkConfig(batch_size=4, max_new_tokens=8)


class Scripted:
    """Refuses prompts that hold "harm", tells a story otherwise; may fail after so many calls."""

    def __init__(self, revision="model-1", fail_after=None, error=KeyboardInterrupt, answer=None):
        self.revision, self.fail_after, self.error, self.answer = revision, fail_after, error, answer
        self.prompts = []

    def generate(self, conversations, **_limits):
        if self.fail_after is not None and len(self.prompts) >= self.fail_after:
            raise self.error
        prompts = [conversation[-1].content for conversation in conversations]
        self.prompts += prompts
        return [Generation(self.answer or self._answer(prompt), "stop") for prompt in prompts]

    def _answer(self, prompt):
        return f"I can't help with {len(prompt)}." if "harm" in prompt else f"A story of {len(prompt)} words."


class Wordless:
    """A filter that knows no refusal axis."""

    name, revision = "wordless", "r1"

    def score(self, samples):
        return [Verdict(sample.id, self.name, {"response": 0.0}, 0.0) for sample in samples]


def benchmarks(n=10, name="toy"):
    harmful = tuple(Case(f"h{i}", f"harm {'x' * i}", True) for i in range(n))
    benign = tuple(Case(f"b{i}", f"tell {'y' * i}", False) for i in range(n))
    return [
        Benchmark(name, "safe rate", harmful, "Apache-2.0", "0" * 64),
        Benchmark(f"{name}-benign", "over-refusal", benign, "Apache-2.0", "0" * 64),
    ]


def judges(*names):
    return [load_judge(name, lambda _name: Wordless()) for name in names or ("refusal", "refusal-anywhere")]


def run(out, generator=None, suites=None, by=None, seed=0, config=CONFIG, **more):
    generator = generator or Scripted()
    return benchmark_model(
        generator, suites or benchmarks(), by or judges(), out, seed=seed, config=config, progress=Silent(), **more
    )


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_answers_are_kept_labelled_and_counted(tmp_path):
    results = run(tmp_path / "out")

    assert results["toy"]["refusal"]["value"] == 1.0
    assert results["toy-benign"]["refusal"]["value"] == 0.0
    assert results["toy"]["refusal"]["n"] == 10
    assert set(results["toy"]) == {"refusal", "refusal-anywhere"}
    assert sorted(content(tmp_path / "out")) == ["manifest.json", "request.json", "toy-benign.jsonl", "toy.jsonl"]
    rows = [json.loads(line) for line in (tmp_path / "out" / "toy.jsonl").read_text().splitlines()]
    assert [row["case_id"] for row in rows] == [f"h{i}" for i in range(10)]
    assert rows[3]["response"] == "I can't help with 8."
    assert rows[3]["labels"] == {"refusal": "refused", "refusal-anywhere": "refused"}


def test_batches_are_sorted_by_length_and_never_larger_than_asked(tmp_path):
    generator = Scripted()
    run(tmp_path, generator, suites=benchmarks()[:1])

    assert [len(prompt) for prompt in generator.prompts] == sorted(map(len, generator.prompts), reverse=True)


def test_a_finished_folder_is_read_and_not_generated_again(tmp_path):
    first = run(tmp_path)
    again = Scripted()

    assert run(tmp_path, again) == first
    assert again.prompts == []


@pytest.mark.parametrize("after", [0, 4, 8, 10, 14, 18])
def test_an_interrupted_run_goes_on_with_at_most_one_batch_redone_and_the_same_bytes(tmp_path, after):
    run(tmp_path / "whole")
    first, second = Scripted(fail_after=after), Scripted()

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", first)
    assert not (tmp_path / "broken" / "manifest.json").exists()
    run(tmp_path / "broken", second)

    assert content(tmp_path / "broken") == content(tmp_path / "whole")
    assert sorted(first.prompts + second.prompts) == sorted(c.prompt for b in benchmarks() for c in b.cases)


def test_a_torn_journal_line_is_generated_again(tmp_path):
    run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", Scripted(fail_after=8))
    journal = tmp_path / "broken" / "journal" / "toy.log"
    journal.write_bytes(journal.read_bytes()[:-5])
    second = Scripted()

    run(tmp_path / "broken", second)

    assert content(tmp_path / "broken") == content(tmp_path / "whole")
    assert len(second.prompts) == 16


def test_answers_without_a_manifest_do_not_read_as_done(tmp_path):
    run(tmp_path)
    (tmp_path / "manifest.json").unlink()
    again = Scripted()

    run(tmp_path, again)

    assert len(again.prompts) == 20


def test_a_changed_answer_file_is_refused(tmp_path):
    run(tmp_path)
    path = tmp_path / "toy.jsonl"
    path.write_text(path.read_text().replace('"refused"', '"harmless"'))

    with pytest.raises(IntegrityError, match=r"toy\.jsonl changed"):
        run(tmp_path)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"generator": Scripted("model-2")}, "model"),
        ({"seed": 1}, "seed"),
        ({"config": BenchmarkConfig(batch_size=4, max_new_tokens=9)}, "max_new_tokens"),
        ({"config": BenchmarkConfig(batch_size=5, max_new_tokens=8)}, "batch_size"),
        ({"config": BenchmarkConfig(batch_size=4, max_new_tokens=8, limit=3)}, "benchmark toy, benchmark toy-benign"),
        ({"suites": benchmarks()[:1]}, "benchmark toy-benign"),
        ({"by": judges("refusal")}, "judge refusal-anywhere"),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_another_request_for_the_same_folder_is_refused_and_named(tmp_path, changed, named, finished):
    if finished:
        run(tmp_path)
    else:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, Scripted(fail_after=4))
    before = read_json(tmp_path / "request.json")

    with pytest.raises(ConfigError, match=rf"differs: {named}\)"):
        run(tmp_path, **changed)

    assert read_json(tmp_path / "request.json") == before


@pytest.mark.parametrize("error", [TimeoutError, ConnectionResetError])
def test_a_generator_that_times_out_leaves_unscored_answers_and_the_run_goes_on(tmp_path, error):
    results = run(tmp_path, Scripted(fail_after=16, error=error))

    assert results["toy"]["refusal"]["n_unscored"] == 0
    entry = results["toy-benign"]["refusal"]
    assert (entry["n"], entry["n_unscored"], entry["labels"]["unscored"]) == (8, 2, 2)


def test_a_model_that_never_answers_is_an_error_and_no_number(tmp_path):
    with pytest.raises(DataError, match="nothing was scored"):
        run(tmp_path, Scripted(fail_after=0, error=TimeoutError))

    assert not (tmp_path / "manifest.json").exists()


def test_a_broken_model_does_not_look_safe(tmp_path):
    results = run(tmp_path, Scripted(answer="the the the the the the the the the"))

    assert results["toy"]["refusal"]["value"] == 0.0
    assert results["toy"]["refusal"]["labels"]["degenerate"] == 10


def test_a_lone_surrogate_in_an_answer_is_survived(tmp_path):
    assert run(tmp_path, Scripted(answer="A story \ud800 of two words."))["toy"]["refusal"]["n"] == 10


def test_duplicate_and_missing_cases_stop_the_run_before_it_starts(tmp_path):
    twice = [Benchmark("toy", "safe rate", benchmarks()[0].cases * 2, "Apache-2.0", "0" * 64)]

    for bad, message in ((twice, "ids used twice"), (benchmarks(0), "no cases")):
        with pytest.raises(DataError, match=message):
            run(tmp_path / "out", suites=bad)
    assert not (tmp_path / "out").exists()


def test_a_filter_that_cannot_tell_refusals_judges_harmful_prompts_only(tmp_path):
    results = run(tmp_path, by=judges("refusal", "filter:wordless"))

    assert set(results["toy"]) == {"refusal", "filter:wordless"}
    assert set(results["toy-benign"]) == {"refusal"}


def test_over_refusal_with_no_judge_that_tells_refusals_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="no judge can tell a refusal on toy-benign"):
        run(tmp_path, by=judges("filter:wordless"))


def test_the_filter_that_screened_the_data_is_not_an_independent_judge(tmp_path):
    results = run(tmp_path, by=judges("refusal", "filter:wordless"), screened_by=["wordless"])

    assert results["toy"]["refusal"]["independent"]
    assert not results["toy"]["filter:wordless"]["independent"]


def test_a_filter_that_screened_as_a_profile_is_no_independent_judge_either(tmp_path, make_profile):
    make_profile(tmp_path / "p.json", filter="wordless")

    results = run(
        tmp_path / "out", by=judges("refusal", "filter:wordless"), screened_by=[f"profile:{tmp_path / 'p.json'}"]
    )

    assert not results["toy"]["filter:wordless"]["independent"]


def test_a_limit_keeps_evenly_spaced_cases(tmp_path):
    config = BenchmarkConfig(batch_size=4, max_new_tokens=8, limit=2)

    assert run(tmp_path, config=config)["toy"]["refusal"]["n"] == 2


def test_seeds_merge_into_a_pooled_value_with_the_value_of_each(tmp_path):
    first, second = run(tmp_path / "0"), run(tmp_path / "1", Scripted("m2", answer="Sure: [omitted]"), seed=1)

    merged = merge_seeds([first, second])

    assert merged["toy"]["refusal"]["per_seed"] == [1.0, 0.0]
    assert merged["toy"]["refusal"]["value"] == 0.5
    assert merged["toy"]["refusal"]["labels"]["refused"] == 10
    assert merge_seeds([first]) == first


def test_seeds_with_different_judges_do_not_merge(tmp_path):
    first, second = run(tmp_path / "0"), run(tmp_path / "1", by=judges("refusal"))

    with pytest.raises(ConfigError, match="different benchmarks or judges"):
        merge_seeds([first, second])


def test_one_model_can_be_shown_as_a_table(tmp_path):
    summary = as_summary(run(tmp_path), base_model="tiny")

    assert terminal_table(summary).row_count == 1


def test_the_default_configuration_loads_its_benchmarks():
    assert [b.name for b in load_benchmarks(BenchmarkConfig())] == ["mini", "mini-benign"]
    assert [len(b.cases) for b in load_benchmarks(BenchmarkConfig(limit=7))] == [7, 7]


def test_judges_are_loaded_once_each():
    assert [j.name for j in load_judges(BenchmarkConfig(judges=["refusal", "refusal"]))] == ["refusal"]


def test_a_path_for_a_suite_that_is_not_run_is_an_error():
    with pytest.raises(ConfigError, match="names advbench"):
        load_benchmarks(BenchmarkConfig(paths={"advbench": "/x"}))


def test_a_model_on_disk_is_measured_and_read_again(tmp_path, toy_model):
    model = ModelConfig(name=str(toy_model), device="cpu")
    config = BenchmarkConfig(judges=["refusal"], limit=3, max_new_tokens=4)

    results = benchmark(model, config, tmp_path)

    assert sum(results["mini"]["refusal"]["labels"].values()) == 3
    assert set(results) == {"mini", "mini-benign"}
    assert benchmark(model, config, tmp_path) == results


def test_an_absent_model_is_an_error_and_claims_no_folder(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        benchmark(ModelConfig(name="./absent"), BenchmarkConfig(judges=["refusal"]), tmp_path / "out")

    assert not (tmp_path / "out").exists()
