"""A wrong configuration is one error that names file and key; torch is not needed to say so (TEST_MATRIX B8)."""

import subprocess
import sys
from pathlib import Path

import pytest

from safefed.config import DEFAULT_ARMS, ExperimentConfig, NodeConfig, SourceConfig, load_experiment, load_node, parse
from safefed.errors import ConfigError

EXPERIMENTS = Path(__file__).parents[1] / "experiments"


@pytest.fixture
def toml(tmp_path):
    def write(text: str, name: str = "exp.toml") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


WRONG = {
    "unknown key": ("[train]\nroundz = 3", "train.roundz: unknown key; did you mean rounds?"),
    "unknown section": ("[trian]\nrounds = 3", "trian: unknown key; did you mean train?"),
    "unknown key far from any": ("[train]\nqqqq = 3", "train.qqqq: unknown key"),
    "unknown key in a list": ('[[data.benign]]\npath = "a"\npromt = "x"', "data.benign.0.promt: unknown key; did you"),
    "number as text": ('[train]\nrounds = "3"', "train.rounds"),
    "text as number": ("name = 3", "name"),
    "float as count": ("[train]\nsteps = 2.5", "train.steps"),
    "bool as count": ("[train]\nsteps = true", "train.steps"),
    "section as value": ("train = 3", "train"),
    "value as section": ("[train.rounds]\nx = 1", "train.rounds"),
    "zero": ("[train]\nrounds = 0", "train.rounds"),
    "negative": ("[train]\nbatch_size = -8", "train.batch_size"),
    "share above one": ("[screen]\nthreshold = 1.5", "screen.threshold"),
    "share below zero": ("[data]\nunsafe_share = -0.1", "data.unsafe_share"),
    "nan share": ("[screen]\nthreshold = nan", "screen.threshold"),
    "nan rate": ("[train]\nlearning_rate = nan", "train.learning_rate"),
    "infinite rate": ("[train]\nlearning_rate = inf", "train.learning_rate"),
    "nan timeout": ("[train]\ntimeout_s = nan", "train.timeout_s"),
    "no seeds": ("seeds = []", "seeds"),
    "negative seed": ("seeds = [0, -1]", "seeds.1"),
    "huge seed": ("seeds = [4294967296]", "seeds.0"),
    "unknown choice": ('[train]\nschedule = "zigzag"', "train.schedule"),
    "unknown engine": ('engine = "ray"', "engine"),
    "unknown screening": ('[arms.mine]\nscreening = "hope"', "arms.mine.screening"),
    "no arms": ("arms = {}", "arms"),
    "settings of no alignment": ("[arms.mine.settings.align]\ndpo_steps = 1", "settings.align"),
    "settings of no training": ("[arms.mine]\ntrain = false\n[arms.mine.settings.train]\nsteps = 1", "settings"),
    "endpoint without a name": ('[revise.generator]\nkind = "endpoint"\nurl = "http://h/v1"', 'model = "NAME"'),
    "address without a kind": ('[revise.generator]\nurl = "http://h/v1"', "add it, or take them out"),
    "address that is none": ('[revise.generator]\nkind = "endpoint"\nurl = "h:80"\nmodel = "m"', "http or https"),
    "password in an address": (
        '[revise.generator]\nkind = "endpoint"\nurl = "http://u:secret@h/v1"\nmodel = "m"',
        "use api_key_env",
    ),
    "key for its variable": ('[revise.generator]\nkind = "endpoint"\napi_key_env = "sk-1"', "api_key_env"),
    "too many attempts": ("[revise]\nattempts = 99", "revise.attempts"),
    "bad client name": ('[[data.client]]\nname = "../x"\nsources = []', "data.client.0.name"),
    "no sources": ('[[data.client]]\nname = "x"\nsources = []', "data.client.0.sources"),
    "more unsafe than clients": ("[data]\nclients = 2\nunsafe_clients = 3", "unsafe_clients=3 is more than clients=2"),
    "unsafe without benign": ('[[data.unsafe]]\npath = "x"', "data.unsafe needs data.benign"),
    "bucket outside": (
        '[[data.benign]]\npath = "x"\nbucket = { of = 2, keep = [2] }',
        "data.benign.0.bucket: keep must name buckets from 0 to 1",
    ),
    "empty bucket": ('[[data.benign]]\npath = "x"\nbucket = { of = 2, keep = [] }', "data.benign.0.bucket.keep"),
    "response alone": ('[[data.benign]]\npath = "x"\nresponse = "a"', "data.benign.0: response = 'a' needs prompt"),
    "columns alone": (
        '[[data.benign]]\npath = "x"\nformat = "columns"',
        'data.benign.0: format = "columns" needs prompt',
    ),
    "prompt and format": (
        '[[data.benign]]\npath = "x"\nprompt = "q"\nformat = "alpaca"',
        "data.benign.0: prompt names a column, so format = 'alpaca' would be ignored",
    ),
    "unknown format": ('[[data.benign]]\npath = "x"\nformat = "parchment"', "data.benign.0.format"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_value_is_an_error_that_names_file_and_key(toml, case):
    text, key = WRONG[case]
    path = toml(text)

    with pytest.raises(ConfigError) as caught:
        load_experiment(path)

    assert key in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 2


def test_every_problem_is_named_at_once(toml):
    path = toml("[train]\nrounds = 0\nroundz = 1\n[screen]\nthreshold = nan\n")

    with pytest.raises(ConfigError, match=r"3 problem\(s\)") as caught:
        load_experiment(path)

    assert all(key in str(caught.value) for key in ("train.rounds", "train.roundz", "screen.threshold"))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"[train\n", "is not valid TOML"),
        (b"rounds", "is not valid TOML"),
        (b"name = 1\nname = 2", "is not valid TOML"),
        (b"\xff\xfe", "is not valid TOML"),
        (b"x = " + b"[" * 5000, "is not valid TOML"),
    ],
)
def test_a_malformed_file_is_an_error_that_names_it(tmp_path, data, says):
    (tmp_path / "exp.toml").write_bytes(data)

    with pytest.raises(ConfigError, match=says) as caught:
        load_experiment(tmp_path / "exp.toml")

    assert "exp.toml" in str(caught.value)


def test_a_missing_file_or_a_folder_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"no\.toml does not exist"):
        load_experiment(tmp_path / "no.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_experiment(tmp_path)
    with pytest.raises(ConfigError, match=r"no\.toml does not exist"):
        load_node(tmp_path / "no.toml")


def test_an_empty_file_is_the_default_experiment(toml):
    assert load_experiment(toml("")) == load_experiment() == ExperimentConfig()
    assert list(ExperimentConfig().arms) == list(DEFAULT_ARMS)


def test_a_file_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "exp.toml").write_bytes(b'\xef\xbb\xbfname = "mine"')

    assert load_experiment(tmp_path / "exp.toml").name == "mine"


def test_overrides_win_and_are_parsed_as_toml(toml):
    path = toml('name = "file"\n[train]\nrounds = 3\n[train.lora]\nrank = 8\n')
    overrides = [
        "train.rounds=5",
        "train.learning_rate = 1e-4",
        "train.lora.targets=['q_proj']",
        "name=over",
        "seeds=[1, 2]",
        "model.name='a=b'",
        "arms.base.train=false",
    ]

    config = load_experiment(path, overrides)

    assert (config.train.rounds, config.train.learning_rate, config.train.lora.rank) == (5, 1e-4, 8)
    assert (config.train.lora.targets, config.name, config.seeds) == (["q_proj"], "over", [1, 2])
    assert config.model.name == "a=b"
    assert list(config.arms) == ["base"]


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("train.rounds", "has no '='; write --set train.rounds=5"),
        ("=5", "has no '='"),
        ("train.roundz=5", "train.roundz: unknown key"),
        ("train.rounds=many", "train.rounds"),
        ("train.learning_rate=nan", "train.learning_rate"),
        ("train.rounds.x=1", "'rounds' is not a section"),
        ("name=1\nseeds=[7]", "name"),
        ("seeds=" + "[" * 5000, "seeds"),
        ("a..b=1", "a: unknown key"),
    ],
)
def test_a_wrong_override_is_an_error_that_names_it(toml, override, says):
    with pytest.raises(ConfigError) as caught:
        load_experiment(toml("[train]\nrounds = 3\n"), [override])

    assert says in str(caught.value)


def test_relative_paths_are_resolved_against_the_file(toml, tmp_path, monkeypatch):
    path = toml(
        """
        [model]
        name = "./model"
        [revise]
        constitution = "default"
        [benchmark.paths]
        advbench = "bench/adv.csv"
        [[data.benign]]
        path = "a/b.jsonl"
        where = { path = "x", file = "y/z" }
        join = { file = "../q.csv", key = "file", column = "path" }
        [[data.benign]]
        path = "/abs/c.jsonl"
        """
    )
    monkeypatch.chdir("/")

    config = load_experiment(path)

    first, second = config.data.benign
    assert (first.path, second.path) == (str(tmp_path / "a/b.jsonl"), "/abs/c.jsonl")
    assert (first.join.file, first.join.key, first.join.column) == (str(tmp_path / "../q.csv"), "file", "path")
    assert first.where == {"path": "x", "file": "y/z"}
    assert config.benchmark.paths == {"advbench": str(tmp_path / "bench/adv.csv")}
    assert (config.model.name, config.revise.constitution) == (str(tmp_path / "model"), "default")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("profile:./hospital.json", "profile:{here}/hospital.json"),
        ("profile:$SITE/hospital.json", "profile:/site/hospital.json"),
        ("linear:../mine", "linear:{here}/../mine"),
        ("detoxify:unbiased", "detoxify:unbiased"),
        ("linear", "linear"),
    ],
)
def test_what_follows_the_colon_of_a_filter_is_a_path_relative_to_the_file(toml, tmp_path, monkeypatch, written, read):
    monkeypatch.setenv("SITE", "/site")

    config = load_experiment(toml(f'[screen]\nfilter = "{written}"'))

    assert config.screen.filter == read.format(here=tmp_path)


@pytest.mark.parametrize("spelling", ["$CORPUS/a.csv", "${CORPUS}/a.csv"])
def test_environment_variables_in_paths_are_replaced(toml, monkeypatch, spelling):
    monkeypatch.setenv("CORPUS", "/data")
    path = toml(f'[[data.benign]]\npath = "{spelling}"\n')

    assert load_experiment(path).data.benign[0].path == "/data/a.csv"


def test_an_unset_variable_says_what_to_export(toml, monkeypatch):
    monkeypatch.delenv("CORPUS", raising=False)
    path = toml('[[data.benign]]\npath = "$CORPUS/a.csv"\n')

    with pytest.raises(ConfigError, match="export CORPUS="):
        load_experiment(path)


def test_a_home_folder_is_expanded_or_refused(toml, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")

    assert load_experiment(toml('[[data.benign]]\npath = "~/a.csv"')).data.benign[0].path == "/home/me/a.csv"
    with pytest.raises(ConfigError, match="home folder"):
        load_experiment(toml('[[data.benign]]\npath = "~no-such-user/a.csv"'))


def test_a_node_file_has_its_own_closed_schema(toml, tmp_path):
    good = toml('name = "client-1"\nwork = "w"\n[[data]]\npath = "rows.jsonl"\n', "client.toml")
    bad = toml('name = "Client 1"\nwork = "w"\nrounds = 3\nmax_steps = 0\n', "bad.toml")

    node = load_node(good)

    assert (node.work, node.data[0].path) == (str(tmp_path / "w"), str(tmp_path / "rows.jsonl"))
    with pytest.raises(ConfigError) as caught:
        load_node(bad)
    assert all(key in str(caught.value) for key in ("bad.toml", "name", "rounds: unknown key", "max_steps"))


def test_missing_keys_are_named(toml):
    with pytest.raises(ConfigError, match=r"name: Field required(.|\n)*work: Field required"):
        load_node(toml("", "client.toml"))


def test_one_client_without_unsafe_rows_needs_no_further_option(toml):
    path = toml('[data]\nclients = 1\n[[data.benign]]\npath = "a.csv"\n')

    assert load_experiment(path).data.clients == 1


def test_clients_with_files_and_a_pool_are_not_mixed(toml):
    client = '[[data.client]]\nname = "{}"\nsources = [{{ path = "a" }}]\n'

    with pytest.raises(ConfigError, match="not both"):
        load_experiment(toml(client.format("a") + '[[data.benign]]\npath = "x"\n'))
    with pytest.raises(ConfigError, match="two clients have one name"):
        load_experiment(toml(client.format("a") * 2))


def test_errors_do_not_repeat_the_values_of_the_file(toml):
    with pytest.raises(ConfigError) as caught:
        load_experiment(toml('[train]\nrounds = "CANARY"\n'))

    assert "CANARY" not in str(caught.value)


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        ExperimentConfig().train.rounds = 4


def test_a_dumped_configuration_is_read_back():
    config = load_experiment(None, ["train.rounds=7", 'data.benign=[{path="/a", where={x="1"}}]'])

    assert parse(ExperimentConfig, config.model_dump(mode="json"), "dump") == config
    assert parse(SourceConfig, {"path": "a"}, "x") == SourceConfig(path="a")
    assert "dataset" not in NodeConfig.model_fields


def test_reading_a_configuration_loads_nothing_heavy():
    code = (
        "import sys; from safefed.config import load_experiment; import safefed.sources; load_experiment()\n"
        "print(sorted({'torch', 'transformers', 'datasets', 'flwr', 'pyarrow', 'pandas', 'numpy'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


@pytest.mark.parametrize("arm", ["../up", "a/b", "stages", "work", ""])
def test_an_arm_whose_name_cannot_be_a_folder_of_its_own_is_refused(arm):
    with pytest.raises(ConfigError, match=r"arm"):
        parse(ExperimentConfig, {"arms": {arm: {}}}, "here")


def test_an_experiment_says_only_how_it_differs_from_the_one_it_extends(tmp_path):
    (tmp_path / "base.toml").write_text('name = "base"\n[train]\nrounds = 5\nsteps = 7\n[arms.base]\ntrain = false\n')
    child = tmp_path / "sub" / "child.toml"
    child.parent.mkdir()
    child.write_text('extends = "../base.toml"\nname = "child"\n[train]\nsteps = 9\n[arms.other]\n')

    config = load_experiment(child)

    assert (config.name, config.train.rounds, config.train.steps, list(config.arms)) == ("child", 5, 9, ["other"])


def test_a_variable_has_to_be_set_only_for_a_path_that_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.delenv("NO_DATA", raising=False)
    (tmp_path / "base.toml").write_text('[[data.benign]]\npath = "$NO_DATA/a.csv"\n')
    child = tmp_path / "child.toml"
    child.write_text('extends = "./base.toml"\n[[data.benign]]\npath = "mine.csv"\n')

    assert load_experiment(child).data.benign[0].path == str(tmp_path / "mine.csv")
    with pytest.raises(ConfigError, match=r"export NO_DATA="):
        load_experiment(tmp_path / "base.toml")


def test_experiments_that_extend_each_other_are_refused(tmp_path):
    (tmp_path / "a.toml").write_text('extends = "b.toml"\n')
    (tmp_path / "b.toml").write_text('extends = "a.toml"\n')

    with pytest.raises(ConfigError, match=r"a\.toml -> b\.toml -> a\.toml"):
        load_experiment(tmp_path / "a.toml")


def test_an_arm_has_settings_of_its_own_and_unknown_ones_are_refused():
    config = ExperimentConfig.model_validate(
        {"arms": {"sft": {"align": True, "settings": {"align": {"dpo_steps": 0, "sft_steps": 3}}}, "plain": {}}}
    )

    assert (config.for_arm("sft").align.sft_steps, config.for_arm("plain").align.sft_steps) == (3, 0)
    with pytest.raises(ConfigError, match="'odd'"):
        parse(ExperimentConfig, {"arms": {"odd": {"settings": {"train": {"speed": 1}}}}}, "here")


def test_what_an_arm_does_not_say_of_a_section_inside_a_section_is_the_experiments(toml):
    own = "[train.lora]\nrank = 16\nalpha = 64\n[arms.small.settings.train.lora]\nrank = 4\n"

    lora = load_experiment(toml(own)).for_arm("small").train.lora

    assert (lora.rank, lora.alpha) == (4, 64)


@pytest.mark.parametrize("name", sorted(p.name for p in EXPERIMENTS.glob("*.toml")))
def test_every_experiment_that_ships_can_be_read(name, monkeypatch):
    monkeypatch.setenv("SAFEFED_DATA", "/data")
    if name == "paper-8b.toml":  # has data of its own
        monkeypatch.delenv("SAFEFED_DATA")

    assert load_experiment(EXPERIMENTS / name).name == name.removesuffix(".toml")
