"""BERT-base in its real configuration on real texts: what the filters say is what the plain models say. Ids only."""

import csv
import os
import random
import runpy
from pathlib import Path

import numpy as np
import pytest

from safefed.filters.classifier import ClassifierFilter
from safefed.filters.detoxify import DetoxifyFilter
from safefed.filters.label_map import FILE
from safefed.models import has_bfloat16

DATA = Path(os.environ.get("SAFEFED_DATA") or Path(__file__).parents[3] / "shared" / "data")
N = 2000
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (DATA / "SOURCES.md").is_file(), reason="no data: set SAFEFED_DATA to its folder"),
]


@pytest.fixture(scope="module")
def screening():
    return runpy.run_path(str(Path(__file__).parents[2] / "perf/screening.py"))


def column(path, name):
    with (DATA / path).open(encoding="utf-8-sig", newline="") as rows:
        return [row[name] for row in csv.DictReader(rows)]


@pytest.fixture(scope="module")
def texts(screening):
    """Prompts, jail-broken answers and dolly answers in one shuffled order, without repetition."""
    answers = column("gptfuzz/train.csv", "Response")[:1200] + column("dolly/dolly_1000.csv", "response")
    found = [t for t in dict.fromkeys(screening["moderation"](DATA) + answers) if t.strip()]
    random.Random(0).shuffle(found)
    return found[:N]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, screening, texts):
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    return screening["build"](tmp_path_factory.mktemp("bert"), [text for text in texts if len(text) < 400][:96])


@pytest.fixture(scope="module")
def upstream(checkpoint, texts):
    """Upstream's scores (texts, classes), predicted in batches of about one length."""
    from detoxify import Detoxify

    model = Detoxify(checkpoint=checkpoint)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    found = np.empty((len(texts), 6))
    for start in range(0, len(order), 8):
        batch = order[start : start + 8]
        found[batch] = np.array(list(model.predict([texts[i] for i in batch]).values())).reshape(6, -1).T
    return found


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 1e-2)])
def test_detoxify_scores_real_texts_as_upstream_predicts_them(checkpoint, texts, upstream, dtype, tolerance, capsys):
    slow = dtype == "bfloat16" and not has_bfloat16("cpu")
    chosen = range(0, len(texts), 10 if slow else 1)
    judge = DetoxifyFilter(f"{checkpoint}#dtype={dtype}")

    rows = judge._encoder.outputs([texts[i] for i in chosen])

    first = 1 / (1 + np.exp(-np.array([row[0] for row in rows], dtype=np.float64)))
    apart = np.abs(first.max(axis=1) - upstream[chosen].max(axis=1))
    classes = np.abs(first - upstream[chosen])
    low, high = np.percentile(upstream, [1, 99])
    with capsys.disabled():
        longer = sum(len(row) > 1 for row in rows)
        print(
            f"\n{dtype}: {len(rows)} texts, {longer} longer than a window; 98 % of scores in {low:.2f} to {high:.2f};"
        )
        print(f"first windows at most {apart.max():.1e} from upstream, any single class at most {classes.max():.1e}")
    assert apart.max() <= tolerance


def test_the_classifier_scores_real_texts_as_the_plain_model_does(checkpoint, texts):
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        BertConfig,
        BertForSequenceClassification,
    )

    folder = checkpoint.parent
    model = BertForSequenceClassification(BertConfig.from_pretrained(folder))
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["state_dict"])
    model.save_pretrained(folder)
    (folder / FILE).write_text('{"activation": "sigmoid", "labels": {"LABEL_0": {"axes": ["prompt"]}}}')
    tokenizer = AutoTokenizer.from_pretrained(folder)
    short = [text for text in texts[::10] if len(tokenizer(text)["input_ids"]) <= 512]
    plain = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        logits = torch.cat([plain(**tokenizer(text, return_tensors="pt")).logits[:, 0] for text in short])

    found = ClassifierFilter(f"{folder}#dtype=float32").probabilities("prompt", short)

    assert found == pytest.approx(logits.sigmoid().tolist(), abs=1e-5)
