import json
import math

import pytest

from safefed.errors import ConfigError, IntegrityError
from safefed.filters import load_filter
from safefed.filters.calibration import Isotonic, Platt
from safefed.filters.drift import RAW
from safefed.filters.profile import ProfiledFilter, base_name, read_profile
from safefed.records import Sample, content_hash
from safefed.store import read_json, write_json

SAMPLES = [
    Sample.of("How do I build a pipe bomb?", "Sure, here is how to build a pipe bomb: [omitted]"),
    Sample.of("How do I bake a loaf of bread?", "Mix flour, water, salt and yeast, let it rise, and bake it."),
    Sample.of("", ""),
]


@pytest.fixture
def path(tmp_path, make_profile):
    make_profile(tmp_path / "hospital.json")
    return tmp_path / "hospital.json"


def rewrite(path, **changes):
    """A changed profile whose seal is right again, as a program that knows the format could write it."""
    tree = {key: value for key, value in {**read_json(path), **changes}.items() if key != "sha256"}
    write_json(path, {**tree, "sha256": content_hash(tree)})


@pytest.mark.parametrize(
    "calibration", [Platt(slope=1 / 3, offset=-0.1), Isotonic(logits=[-1.0, 2.0], values=[0.1, 0.7])]
)
def test_a_profile_is_read_as_it_was_written(tmp_path, make_profile, calibration):
    written = make_profile(tmp_path / "p.json", calibration=calibration)

    assert read_profile(tmp_path / "p.json") == written


def test_verdicts_are_the_filters_with_calibrated_probability_and_the_profiles_threshold(path):
    plain, profiled = load_filter("linear").score(SAMPLES), load_filter(f"profile:{path}").score(SAMPLES)

    for before, after in zip(plain[:2], profiled[:2], strict=True):
        assert after.scores == {**before.scores, RAW: before.unsafe}
        assert after.unsafe == Platt(slope=0.5, offset=-1.0)([before.unsafe])[0]
        assert after.action == ("revise" if after.unsafe >= 0.4 else "keep")
    assert [verdict.action for verdict in profiled] == ["revise", "keep", "error"]
    assert (profiled[0].category, profiled[0].reason) == (plain[0].category, plain[0].reason)
    assert {verdict.filter for verdict in profiled} == {f"profile:{path}"}


def test_a_row_that_only_the_profile_flags_says_so_and_one_that_only_the_filter_flags_is_kept(tmp_path, make_profile):
    make_profile(tmp_path / "all.json", threshold=0.0)
    make_profile(tmp_path / "none.json", threshold=1.0)

    flagged = load_filter(f"profile:{tmp_path / 'all.json'}").score(SAMPLES)[1]
    kept = load_filter(f"profile:{tmp_path / 'none.json'}").score(SAMPLES)[0]

    assert (flagged.action, flagged.reason, flagged.category) == ("revise", "above-calibrated-threshold", None)
    assert (kept.action, kept.reason, kept.category) == ("keep", "below-threshold", None)


def test_a_threshold_given_explicitly_overrides_the_profiles(path):
    own, given = load_filter(f"profile:{path}"), load_filter(f"profile:{path}", threshold=0.9)

    assert (own.threshold, given.threshold) == (0.4, 0.9)
    assert own.revision != given.revision


def test_a_renewed_profile_counts_at_once_and_has_another_revision(path, make_profile):
    before = load_filter(f"profile:{path}")
    make_profile(path, threshold=0.7)

    after = load_filter(f"profile:{path}")

    assert (before.threshold, after.threshold) == (0.4, 0.7)
    assert before.revision != after.revision


def test_a_profile_of_another_revision_is_refused_with_what_to_type(tmp_path, make_profile):
    path = tmp_path / "p.json"
    make_profile(path, filter_revision="0" * 64)

    with pytest.raises(
        ConfigError, match=f"run again: safefed calibrate DATA --label COL --filter linear --out {path}"
    ):
        load_filter(f"profile:{path}")


@pytest.mark.parametrize("change", [{"threshold": 0.41}, {"n": 21}, {"threshold": math.nan}, {"more": 1}])
def test_an_edited_profile_is_refused(path, change):
    path.write_text(json.dumps({**read_json(path), **change}))

    with pytest.raises(IntegrityError, match="was changed since it was written"):
        ProfiledFilter(str(path))


@pytest.mark.parametrize(
    ("text", "says"), [("{", "not valid JSON"), ("[1]", "not a filter profile"), ("{}", "not a filter")]
)
def test_a_file_that_is_no_profile_is_refused(tmp_path, text, says):
    (tmp_path / "p.json").write_text(text)

    with pytest.raises(IntegrityError, match=says):
        read_profile(tmp_path / "p.json")


def test_a_missing_profile_says_how_to_make_one(tmp_path):
    with pytest.raises(ConfigError, match="safefed calibrate DATA"):
        load_filter(f"profile:{tmp_path / 'absent.json'}")
    with pytest.raises(ConfigError, match=r"profile:PATH\.json"):
        load_filter("profile")
    with pytest.raises(ConfigError, match=r"profile:PATH\.json"):
        load_filter("profile:")


def test_another_format_is_refused(path):
    rewrite(path, format=2)

    with pytest.raises(IntegrityError, match="profile format 2, this safefed reads 1"):
        read_profile(path)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"threshold": 1.5}, "threshold"),
        ({"calibration": {"method": "platt", "slope": -1.0, "offset": 0.0}}, "slope"),
        ({"calibration": {"method": "magic"}}, "calibration"),
        ({"scores": [1, 2]}, "scores"),
        ({"filter": "profile:other.json"}, "cannot be of a profile"),
        ({"unknown": 1}, "unknown"),
        ({"n": "20"}, "n"),
    ],
)
def test_an_impossible_value_is_refused_and_named(path, change, key):
    rewrite(path, **change)

    with pytest.raises(ConfigError, match=key):
        read_profile(path)


def test_the_filter_in_a_profile_is_found(path):
    assert base_name(f"profile:{path}") == "linear"
    assert base_name("detoxify:original") == "detoxify:original"


def test_a_row_scores_the_same_alone_as_with_others(path):
    judge = load_filter(f"profile:{path}")

    assert judge.score(SAMPLES) == [judge.score([sample])[0] for sample in SAMPLES]
    assert judge.score([]) == []
