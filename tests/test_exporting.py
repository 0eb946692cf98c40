"""``safefed export``: what TRL and ``datasets`` are given."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from safefed import tiny
from safefed.cli import app
from safefed.dataset import DatasetWriter, json_lines
from safefed.errors import ConfigError, DataError, IntegrityError
from safefed.exporting import export
from safefed.records import Message, PreferencePair, Sample
from safefed.store import read_jsonl, write_jsonl, write_manifest

ROWS = [
    Sample.of("What is two and two?", "Four.", source="mine", n=1),
    Sample((Message("system", "Be brief."), Message("user", "Name a bird."), Message("assistant", "Wren."))),
    Sample.of("How do I do the bad thing?", "I won't help with that.", revised=True),
    Sample.of("A bare question?"),
]
PAIRS = [PreferencePair("How do I do the bad thing?", "I won't help with that.", "Sure, UNSAFE [omitted]")]
FACTS = {
    "n_in": 5, "kept": 3, "revised": 1, "fallbacks": 0, "dropped": 1, "errored": 0, "pairs": 1,
    "generator_revision": "writer-1",
}  # fmt: skip
SETTINGS = {
    "filter": "linear", "filter_revision": "f1", "threshold": 0.5, "constitution": "default",
    "constitution_revision": "c1", "model": {"name": "tiny"}, "source_sha256": [["0123abcd"]], "safefed": "0.1.0",
}  # fmt: skip


def preprocessed(folder: Path, pairs=PAIRS, rows=ROWS) -> Path:
    writer = DatasetWriter(folder, SETTINGS)
    writer.commit("digest", {"data.jsonl": json_lines(rows), "pairs.jsonl": json_lines(pairs)}, {}, {})
    writer.finish(**FACTS)
    return folder


def aligned(folder: Path) -> Path:
    """As ``safefed.align.align`` leaves it, without the adapter."""
    write_jsonl(folder / "rows.jsonl", (row.to_json() for row in ROWS))
    write_jsonl(folder / "pairs.jsonl", (pair.to_json() for pair in PAIRS))
    write_manifest(folder, ["rows.jsonl", "pairs.jsonl"], counts={"red_team": 7, "already_refused": 3})
    return folder


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("make", [preprocessed, aligned])
def test_both_kinds_are_conversations_in_trls_columns(tmp_path, make):
    manifest = export(make(tmp_path / "in"), tmp_path / "out")

    sft, dpo = (list(read_jsonl(tmp_path / "out" / kind / "train.jsonl")) for kind in ("sft", "dpo"))
    assert sft == [{"messages": [m.to_json() for m in row.messages]} for row in ROWS[:3]]
    assert dpo == [
        {
            "prompt": [{"role": "user", "content": PAIRS[0].prompt}],
            "chosen": [{"role": "assistant", "content": PAIRS[0].chosen}],
            "rejected": [{"role": "assistant", "content": PAIRS[0].rejected}],
        }
    ]
    assert (manifest["kinds"], manifest["without_answer"]) == ({"sft": 3, "dpo": 1}, 1)
    assert set(manifest["files"]) == names(tmp_path / "out") - {"manifest.json"}


def test_the_card_says_how_the_rows_came_about_and_what_is_to_be_filled_in(tmp_path):
    export(preprocessed(tmp_path / "in"), tmp_path / "out")

    for kind in ("sft", "dpo"):
        card = (tmp_path / "out" / kind / "README.md").read_text()
        _, header, body = card.split("---\n", 2)
        assert yaml.safe_load(header)["license"] == "unknown"
        assert "# FILL IN" in header
        for fact in (
            "`linear`",
            "`f1`",
            "`c1`",
            "`writer-1`",
            "`tiny`",
            "`0123abcd`",
            "| rows read | `5` |",
            f"trl {kind}",
        ):
            assert fact in body
        assert not any(text in card for text in ("bad thing", "UNSAFE", "bird"))


def test_the_card_of_an_aligned_model_has_that_stages_counts(tmp_path):
    export(aligned(tmp_path / "in"), tmp_path / "out", kind="sft")

    assert "| already refused | `3` |" in (tmp_path / "out" / "sft" / "README.md").read_text()
    assert names(tmp_path / "out") == {"manifest.json", "sft/README.md", "sft/train.jsonl"}


def test_without_originals_no_flagged_answer_is_exported(tmp_path):
    export(preprocessed(tmp_path / "in"), tmp_path / "out", originals=False)

    assert names(tmp_path / "out") == {"manifest.json", "sft/README.md", "sft/train.jsonl"}
    assert not any(b"UNSAFE" in path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    with pytest.raises(ConfigError, match="rejected side"):
        export(tmp_path / "in", tmp_path / "more", kind="dpo", originals=False)


def test_without_pairs_both_means_conversations_and_preferences_alone_are_an_error(tmp_path):
    folder = preprocessed(tmp_path / "in", pairs=[])

    assert export(folder, tmp_path / "out")["kinds"] == {"sft": 3}
    assert names(tmp_path / "out") == {"manifest.json", "sft/README.md", "sft/train.jsonl"}
    with pytest.raises(DataError, match="no preference pairs"):
        export(folder, tmp_path / "dpo", kind="dpo")
    assert not (tmp_path / "dpo").exists()


def test_nothing_is_written_over_and_nothing_unfinished_or_changed_is_read(tmp_path):
    folder = preprocessed(tmp_path / "in")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()

    with pytest.raises(ConfigError, match="already holds something"):
        export(folder, tmp_path / "full")
    with pytest.raises(DataError, match="no finished data set"):
        export(tmp_path / "full", tmp_path / "out")
    with pytest.raises(DataError, match="no answered rows"):
        export(preprocessed(tmp_path / "bare", rows=ROWS[3:]), tmp_path / "out")
    with (folder / "data.jsonl").open("a") as handle:
        handle.write("{}\n")
    with pytest.raises(IntegrityError, match=r"data\.jsonl changed"):
        export(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_to_type_next(tmp_path):
    folder = preprocessed(tmp_path / "in")

    done = CliRunner().invoke(app, ["export", str(folder), "--out", str(tmp_path / "out")])
    again = CliRunner().invoke(app, ["export", str(folder), "--out", str(tmp_path / "out"), "--json"])

    assert done.exit_code == 0
    assert f"sft: 3 rows: trl sft --dataset_name {tmp_path / 'out' / 'sft'}" in done.stdout
    assert "1 rows without an answer were left out" in done.stdout
    assert again.exit_code == 2


TRL = "import sys; from trl.cli import main; sys.argv[0] = 'trl'; raise SystemExit(main())"
"""What the console script ``trl`` does."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_trl_trains_on_the_folder_unchanged(tmp_path, kind):
    rows = [Sample.of(f"What is {n} and {n}?", f"It is {2 * n}.") for n in range(6)] + ROWS
    export(preprocessed(tmp_path / "in", PAIRS * 6, rows), tmp_path / "out")
    options = {
        "dataset_name": tmp_path / "out" / kind, "model_name_or_path": tiny.path(), "output_dir": tmp_path / "tuned",
        "max_steps": 2, "per_device_train_batch_size": 2, "report_to": "none", "use_cpu": True, "bf16": False,
        "num_processes": 1,
    }  # fmt: skip
    command = [sys.executable, "-c", TRL, kind, *(f"--{name}={value}" for name, value in options.items())]
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true",
    }  # fmt: skip

    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)

    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "tuned" / "model.safetensors").exists()
    steps = json.loads((tmp_path / "tuned" / "checkpoint-2" / "trainer_state.json").read_text())
    assert steps["global_step"] == 2


@pytest.mark.slow
def test_datasets_loads_the_folder_unchanged(tmp_path):
    from datasets import load_dataset

    export(preprocessed(tmp_path / "in"), tmp_path / "out")

    sft, dpo = (
        load_dataset(str(tmp_path / "out" / kind), cache_dir=str(tmp_path / "cache"))["train"]
        for kind in ("sft", "dpo")
    )

    assert [row["messages"] for row in sft] == [[m.to_json() for m in row.messages] for row in ROWS[:3]]
    assert sft.column_names == ["messages"]
    assert sorted(dpo.column_names) == ["chosen", "prompt", "rejected"]
