"""What a client does with a server it only half trusts."""

from pathlib import Path

import pytest
from flwr.app import Context, RecordDict

from safefed.config import ModelConfig, NodeConfig, ReviseConfig, ScreenConfig, SourceConfig
from safefed.constitution import load_constitution
from safefed.dataset import load_dataset_rows
from safefed.errors import ConfigError
from safefed.federation.client import CLIENT_KEY, CLIENTS_VARIABLE, effective_screen, node_config, prepared
from safefed.federation.plan import Ask, Hello, Job, from_text
from safefed.store import read_manifest, write_jsonl
from safefed.tiny import default_samples


def node(screening: str, threshold: float = 0.5) -> NodeConfig:
    return NodeConfig(name="a", work=".", screening=screening, screen=ScreenConfig(threshold=threshold))


def ask(screening: str, threshold: float | None = 0.5) -> Ask:
    return Ask(fingerprint={}, screening=screening, threshold=threshold)


@pytest.mark.parametrize(
    ("own", "asked", "result"),
    [
        ("none", "drop", "drop"),
        ("none", "oracle", "oracle"),
        ("drop", "none", "drop"),
        ("revise", "oracle", "revise"),
        ("drop", "revise", "revise"),
        ("revise", "drop", "drop"),
    ],
)
def test_the_stricter_of_both_screens_is_used(own, asked, result):
    assert effective_screen(node(own), ask(asked))[0] == result


@pytest.mark.parametrize(("own", "asked", "result"), [(0.5, 0.2, 0.2), (0.5, 0.9, 0.5)])
def test_the_server_may_lower_the_threshold_and_never_raise_it(own, asked, result):
    assert effective_screen(node("drop", own), ask("drop", asked))[1].threshold == result


def test_a_weaker_request_changes_nothing_of_the_clients_own_screen():
    assert effective_screen(node("drop", 0.3), ask("none", 0.1))[1].threshold == 0.3


@pytest.mark.parametrize(("screening", "anew"), [("revise", True), ("drop", False)])
def test_a_changed_constitution_means_a_new_data_set_for_a_client_that_revises(tmp_path, screening, anew):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "hello", "completion": "hi"}\n')
    mine = tmp_path / "mine.yaml"
    mine.write_text("name: mine\nextends: default\n")
    own = NodeConfig(
        name="a", work=str(tmp_path), screening=screening, data=[SourceConfig(path=str(tmp_path / "rows.jsonl"))],
        revise=ReviseConfig(constitution=str(mine)),
    )  # fmt: skip

    before, again = prepared(own, ask(screening)), prepared(own, ask(screening))
    mine.write_text("name: mine\nextends: default\nrefusals: [No.]\n")

    assert before == again
    assert (prepared(own, ask(screening)) != before) == anew


def test_rows_are_screened_anew_when_the_filter_has_changed_and_only_then(tmp_path, make_profile):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "hello", "completion": "hi"}\n')
    source = SourceConfig(path=str(tmp_path / "rows.jsonl"))
    screen = ScreenConfig(filter=f"profile:{tmp_path / 'p.json'}")
    mine = NodeConfig(name="a", work=str(tmp_path), data=[source], screening="none", screen=screen)
    asks = [ask("drop", threshold=None), ask("none", threshold=None)]

    make_profile(tmp_path / "p.json", threshold=0.4)
    before, again = ([prepared(mine, each)[0] for each in asks] for _ in range(2))
    make_profile(tmp_path / "p.json", threshold=0.3)
    after = [prepared(mine, each)[0] for each in asks]

    assert before == again
    assert [old == new for old, new in zip(before, after, strict=True)] == [False, True]


CHANGES = {
    "its rows": {},
    "the model that revises": {"model": ModelConfig(dtype="bfloat16")},
    "whether originals are kept": {"revise": ReviseConfig(keep_originals=False)},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_client_whose_data_or_settings_changed_screens_anew_and_is_not_stopped_by_the_old_folder(tmp_path, change):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "hello", "completion": "hi"}\n')
    own = NodeConfig(name="a", work=str(tmp_path), screening="revise", data=[SourceConfig(path=str(rows))])

    before, again = prepared(own, ask("none")), prepared(own, ask("none"))
    rows.write_text(rows.read_text() * (1 if change else 2))
    own = own.model_copy(update=change)

    assert before == again != prepared(own, ask("none"))


def context(config: dict) -> Context:
    return Context(1, 2, config, RecordDict(), {CLIENT_KEY: "/etc/passwd", "plan": "/etc/passwd"})


def write(folder: Path, name: str) -> Path:
    folder.mkdir()
    (folder / "client.toml").write_text(f'name = "{name}"\nwork = "work"\n')
    return folder / "client.toml"


def test_a_path_in_the_servers_run_config_is_ignored(tmp_path, monkeypatch):
    monkeypatch.delenv(CLIENTS_VARIABLE, raising=False)

    with pytest.raises(ConfigError, match="--node-config"):
        node_config(context({}))
    assert node_config(context({CLIENT_KEY: str(write(tmp_path / "a", "own"))})).name == "own"


def test_in_simulation_each_partition_finds_its_own_file(tmp_path, monkeypatch):
    for name in ("b", "a"):
        write(tmp_path / name, name)
    monkeypatch.setenv(CLIENTS_VARIABLE, str(tmp_path))

    assert [node_config(context({"partition-id": i})).name for i in (0, 1)] == ["a", "b"]
    with pytest.raises(ConfigError, match=r"no client\.toml"):
        node_config(context({"partition-id": 2}))


@pytest.mark.parametrize("text", [None, "", "[]", '{"steps": 5}', '{"path": "/etc/passwd"}', "[" * 100_000, b"{}"])
def test_a_job_that_does_not_fit_the_closed_schema_is_refused(text):
    with pytest.raises(ConfigError, match="the job"):
        from_text(Job, text, "the job")


@pytest.mark.parametrize("name", ["../../etc/cron", "a/b", "", "A", "x" * 60])
def test_a_client_name_that_is_no_plain_name_never_reaches_the_servers_disk(name):
    text = Hello.model_construct(
        name=name, dataset="0" * 64, screening="none", n_in=1, kept=1, revised=0, dropped=0, errored=0
    ).model_dump_json()

    with pytest.raises(ConfigError, match="name"):
        from_text(Hello, text, "the answer")


def test_refusal_templates_replace_unsafe_answers_and_no_model_is_asked(tmp_path):
    unsafe = default_samples("unsafe", 4)
    write_jsonl(tmp_path / "rows.jsonl", ({"prompt": s.prompt, "completion": s.response} for s in unsafe))
    own = NodeConfig(
        name="a", work=str(tmp_path), screening="drop", data=[SourceConfig(path=str(tmp_path / "rows.jsonl"))],
        model=ModelConfig(name=str(tmp_path / "no-model")),
    )  # fmt: skip

    folder, screening = prepared(own, ask("refuse"))

    rows = list(load_dataset_rows(folder))
    assert screening == "refuse"
    assert rows
    assert all(row.response in load_constitution().refusals for row in rows if row.meta.get("revised"))
    assert read_manifest(folder)["revised"] > 0
