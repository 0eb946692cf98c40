import pytest

from safefed.config import ModelConfig
from safefed.errors import ConfigError
from safefed.filters.base import AXES
from safefed.filters.guard_profile import choose, hazard, profiles, read_argument
from safefed.records import HAZARDS

GUARD_3 = [f"S{i}" for i in range(1, 15)]


@pytest.mark.parametrize("family", ["llama-guard-3", "llama-guard-3-1b", "llama-guard-4", "shieldgemma", "wildguard"])
def test_every_family_asks_about_known_axes_and_names_known_hazards(family):
    profile = profiles()[family]

    hazards = {entry["hazard"] for entry in profile.categories.values()} | {q.hazard for q in profile.questions}
    assert {"prompt", "response"} <= {question.axis for question in profile.questions} <= set(AXES)
    assert hazards - {None} <= set(HAZARDS)


def test_every_family_says_where_its_prompt_comes_from_and_under_which_licence(guard_parts):
    for family in profiles():
        raw = guard_parts.raw(family)
        assert raw["licence"]
        assert all("http" in source or "chat template" in source for source in raw["template_sources"])


def test_the_small_llama_guard_3_knows_no_code_interpreter_abuse():
    assert list(profiles()["llama-guard-3"].categories) == GUARD_3
    assert list(profiles()["llama-guard-3-1b"].categories) == GUARD_3[:13]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("S2", ("S2", "")),
        ("\nS2,S5", ("S2", "categories S2,S5")),
        (" S11 , S1\nmore", ("S11", "categories S11,S1")),
        ("S99,S4", ("S4", "")),
        ("S99", (None, "category-unknown")),
        ("O3", (None, "category-unknown")),
        ("", (None, "category-unparsed")),
        ("because S2 was broken", (None, "category-unparsed")),
        ("S2,", (None, "category-unparsed")),
    ],
)
def test_categories_are_parsed_or_there_is_none_and_a_note(answer, expected):
    assert hazard(answer, profiles()["llama-guard-3"]) == expected


@pytest.mark.parametrize(
    ("model_type", "codes", "family"),
    [
        ("llama", GUARD_3, "llama-guard-3"),
        ("llama", GUARD_3[:13], "llama-guard-3-1b"),
        ("llama4", [], "llama-guard-4"),
        ("gemma2", [], "shieldgemma"),
        ("mistral", [], "wildguard"),
    ],
)
def test_the_family_is_told_from_configuration_and_template(model_type, codes, family):
    assert choose(model_type, codes, None, "M").family == family


def test_a_family_that_the_model_leaves_open_has_to_be_named():
    with pytest.raises(ConfigError, match=r"cannot be told.*write guard:FAMILY=M with one of llama-guard-3,"):
        choose("llama", [], None, "M")

    assert choose("llama", [], "llama-guard-3-1b", "M").family == "llama-guard-3-1b"


@pytest.mark.parametrize(
    ("model_type", "codes"), [("llama", GUARD_3[:11]), ("llama", [f"O{i}" for i in range(1, 7)]), ("gemma2", [])]
)
def test_a_model_of_another_family_or_version_is_refused_even_when_named(model_type, codes):
    with pytest.raises(ConfigError, match="is not 'llama-guard-3'"):
        choose(model_type, codes, "llama-guard-3", "M")


def test_the_argument_names_family_model_revision_and_how_to_load_it(tmp_path):
    (tmp_path / "a@b=c").mkdir()

    family, config = read_argument("shieldgemma=google/shieldgemma-2b@abc#dtype=bfloat16,quantization=4bit")
    assert family == "shieldgemma"
    assert config == ModelConfig(
        name="google/shieldgemma-2b", revision="abc", dtype="bfloat16", quantization="4bit"
    )  # fmt: skip
    assert read_argument(str(tmp_path / "a@b=c")) == (None, ModelConfig(name=str(tmp_path / "a@b=c")))


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (None, "guard needs a model: guard:PATH"),
        ("wildgard=x", "no guard family 'wildgard'; choose from llama-guard-3,"),
        ("x#quantisation=4bit", "option 'quantisation'"),
        ("x#dtype=float8", "dtype"),
    ],
)
def test_a_wrong_argument_says_what_to_type(argument, message):
    with pytest.raises(ConfigError, match=message):
        read_argument(argument)
