import csv
import json
import random

import pytest

from safefed.config import SourceConfig
from safefed.errors import ConfigError
from safefed.filters import load_filter
from safefed.filters.guard import GuardFilter
from safefed.filters.guard_profile import FITTED
from safefed.fitting import FitTraining, fit_filter
from safefed.fitting.guard import GuardFitter
from safefed.fitting.settings import make_plan
from safefed.records import Sample
from safefed.training import IGNORED

BAD = "~"
CODES = "".join(f"\nS{i}: A" for i in range(1, 15))
OWN = f"{CODES}\n{{% for m in messages %}}{{{{ m.content }}}}|{{% endfor %}}<|end_header_id|>"


def rows(n, seed=0):
    draw = random.Random(seed)
    vocabulary = ["".join(draw.choices("abcdefghij", k=3)) for _ in range(200)]
    for i in range(n):
        ask, answer = (" ".join(draw.choices(vocabulary, k=k)) for k in (6, 3))
        bad = i % 2 == 0
        yield ask, f"{answer[:5]}{BAD}{answer[5:]}" if bad else answer, int(bad), "S9" if bad and i % 4 == 0 else ""


def write(path, found):
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows([("ask", "answer", "bad", "hazard"), *found])
    return SourceConfig(path=str(path), prompt="ask", response="answer", label="bad")


def learned(fitter, sample):
    _, row = fitter._row(sample)
    return fitter.judge.loaded.tokenizer.decode([token for token in row["labels"] if token != IGNORED])


@pytest.fixture
def fitter(make_guard):
    return GuardFitter(str(make_guard("llama-guard-3", template=OWN)), make_plan("guard", FitTraining(), 0))


def test_only_the_answer_has_loss_and_no_category_is_made_up(fitter):
    named, unnamed, safe = (
        Sample.of("hi", "yes", unsafe=True, category="S9"),
        Sample.of("hi", "yes", unsafe=True, category="other"),
        Sample.of("hi", "yes", unsafe=False, category="S9"),
    )

    assert [learned(fitter, sample) for sample in (named, unnamed, safe)] == [
        "\n\nunsafe\nS9<|eot_id|>",
        "\n\nunsafe",
        "\n\nsafe<|eot_id|>",
    ]


@pytest.mark.slow
def test_a_fitted_guard_learns_a_rule_and_asks_only_what_it_was_fitted_on(make_guard, tmp_path):
    base = make_guard("llama-guard-3", says=None, template=OWN)
    import time; t=time.time()
    result = fit_filter(
        write(tmp_path / "rows.csv", rows(200)),
        tmp_path / "mine",
        filter=f"guard:{base}",
        category="hazard",
        training=FitTraining(steps=150, batch_size=16, learning_rate=1e-2),
    )
    print(time.time()-t, json.dumps(result['fitted']), result['comparison'])
    assert 0
