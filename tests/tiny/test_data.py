import json
from importlib.resources import files

import pytest

from safefed.errors import ConfigError
from safefed.overlap import Index
from safefed.records import HAZARDS
from safefed.tiny import default_samples
from safefed.tiny.grammar import normalise

KINDS = ("benign", "unsafe", "redteam", "helpful")


@pytest.mark.parametrize("kind", KINDS)
def test_equal_arguments_give_equal_samples_and_another_seed_gives_others(kind):
    first, again, other = (default_samples(kind, 40, seed) for seed in (1, 1, 2))

    assert first == again
    assert first != other


@pytest.mark.parametrize("kind", KINDS)
def test_a_longer_draw_starts_with_the_shorter_one(kind):
    assert default_samples(kind, 30)[:10] == default_samples(kind, 10)


def test_no_prompt_is_given_twice_within_a_kind_or_across_clients_and_probes():
    drawn = {kind: [normalise(s.prompt) for s in default_samples(kind, 400)] for kind in KINDS}

    for prompts in drawn.values():
        assert len(set(prompts)) == len(prompts)
    assert not {*drawn["benign"], *drawn["unsafe"]} & {*drawn["redteam"], *drawn["helpful"]}


@pytest.mark.parametrize("kind", KINDS)
def test_no_prompt_is_close_to_the_embedded_evaluation_suite(kind):
    lines = (files("safefed.eval") / "data" / "mini.jsonl").read_text(encoding="utf-8").splitlines()
    mini = Index(json.loads(line)["prompt"] for line in lines)

    assert not list(mini.find(s.prompt for s in default_samples(kind, 400)))


def test_unsafe_rows_carry_their_label_and_cover_every_hazard_with_answers_empty_of_method():
    samples = default_samples("unsafe", 400)

    assert {s.meta["category"] for s in samples} == set(HAZARDS)
    assert all(s.label is True and "omitted]" in s.response for s in samples)


def test_benign_rows_are_labelled_safe_and_probes_are_bare_prompts():
    assert all(s.label is False and s.response for s in default_samples("benign", 100))
    assert not any(s.response for s in default_samples("redteam", 50))


def test_about_half_of_the_helpful_prompts_sound_harmful():
    samples = default_samples("helpful", 300)

    assert 0.4 < sum(s.meta["skill"].startswith("lookalike") for s in samples) / 300 < 0.6


@pytest.mark.parametrize(("kind", "n"), [("nice", 3), ("benign", 0)])
def test_an_impossible_request_is_a_configuration_error(kind, n):
    with pytest.raises(ConfigError, match="embedded data"):
        default_samples(kind, n)
