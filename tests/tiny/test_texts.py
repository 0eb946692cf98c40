"""The tables written by hand: what the grammars rely on."""

from collections import Counter

import pytest

from safefed.records import HAZARDS
from safefed.tiny.grammar import normalise
from safefed.tiny.tables import written

COLUMNS = {
    "alignment_contrasts": 3, "asks": 2, "contrasts": 4, "harmful_asks": 2, "harmful_goals": 2, "lookalike_asks": 2,
    "lookalike_tasks": 2, "tasks": 2,
}  # fmt: skip
PROMPT = {"contrasts": 0, "harmful_asks": 1, "harmful_goals": 1}


@pytest.mark.parametrize("name", COLUMNS)
def test_every_row_has_its_columns_and_none_is_empty(name):
    wrong = [n for n, row in enumerate(written(name), 1) if len(row) != COLUMNS[name] or not all(map(str.strip, row))]

    assert not wrong


def test_no_prompt_is_written_twice():
    prompts = [normalise(row[PROMPT.get(name, 0)]) for name in COLUMNS for row in written(name)]
    prompts += [normalise(row[3]) for row in written("contrasts")]
    prompts += [normalise(row[2]) for row in written("alignment_contrasts")]

    assert not [prompt for prompt, times in Counter(prompts).items() if times > 1]


@pytest.mark.parametrize(("name", "column"), [("harmful_goals", 0), ("harmful_asks", 0), ("contrasts", 2)])
def test_harmful_rows_name_a_hazard_category(name, column):
    assert {row[column] for row in written(name)} <= set(HAZARDS)


@pytest.mark.parametrize("name", ["harmful_goals", "harmful_asks"])
def test_every_hazard_category_occurs(name):
    assert {row[0] for row in written(name)} == set(HAZARDS)


@pytest.mark.parametrize(("name", "column"), [("tasks", 0), ("lookalike_tasks", 0), ("contrasts", 0),
                                              ("contrasts", 3), ("harmful_goals", 1)])  # fmt: skip
def test_goals_are_verb_phrases_that_fit_a_question(name, column):
    goals = [row[column] for row in written(name)]

    assert not [goal for goal in goals if goal.startswith("to ") or goal[-1] in ".?!" or not goal[0].islower()]
