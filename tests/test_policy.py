"""What becomes of flagged rows of some kinds, and who may say so."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from safefed.config import ExperimentConfig, NodeConfig, PolicyConfig, ReviseConfig, ScreenConfig, parse
from safefed.constitution import load_constitution
from safefed.errors import ConfigError
from safefed.federation.client import effective_screen
from safefed.federation.plan import Ask, from_text
from safefed.filters.combine import to_verdict
from safefed.generate import Generation
from safefed.policy import apply_policy, flagged, kept_by_policy
from safefed.preprocessing import screen_rows
from safefed.records import Message, Sample, Verdict
from safefed.screening import Reviser, decide
from safefed.store import read_jsonl

ANSWER_S2 = {"prompt": 0.2, "response": 0.9, "refusal": 0.0}
REQUEST_S6 = {"prompt": 0.9, "response": 0.1, "refusal": 0.0}
HARMLESS = {"prompt": 0.1, "response": 0.1, "refusal": 0.0}


def policy(axis: dict[str, str] | None = None, **category: str) -> PolicyConfig:
    return parse(PolicyConfig, {"category": category, "axis": axis or {}}, "the test")


def verdict(scores: dict[str, float], category: str | None = None) -> Verdict:
    return to_verdict("0" * 64, [scores], name="toy", revision="1", threshold=0.5, category=category)


@pytest.mark.parametrize(
    ("rules", "scores", "category", "action"),
    [
        (policy(), ANSWER_S2, "S2", "revise"),
        (policy(S2="drop"), ANSWER_S2, "S2", "drop"),
        (policy(S2="keep"), ANSWER_S2, "S2", "keep"),
        (policy(S6="drop"), ANSWER_S2, "S2", "revise"),
        (policy(S6="drop"), ANSWER_S2, None, "revise"),
        (policy({"response": "drop"}), ANSWER_S2, "S2", "drop"),
        (policy({"prompt": "drop"}), ANSWER_S2, "S2", "revise"),
        (policy({"prompt": "drop"}), REQUEST_S6, "S6", "drop"),
        (policy({"prompt": "drop"}), {"prompt": 0.9}, None, "drop"),
        (policy({"prompt": "drop"}, S6="keep"), REQUEST_S6, "S6", "keep"),
        (policy({"response": "keep"}, S2="revise"), ANSWER_S2, "S2", "revise"),
    ],
)
def test_the_category_goes_before_the_axis_and_the_axis_before_the_treatment(rules, scores, category, action):
    assert apply_policy(rules, verdict(scores, category)).action == action


def test_the_rule_that_decided_stands_in_the_reason():
    assert apply_policy(policy(S2="keep"), verdict(ANSWER_S2, "S2")).reason == "policy-keep: harmful-response"
    assert apply_policy(policy(S2="keep"), verdict(REQUEST_S6, "S6")).reason == "harmful-prompt-complied"


def test_only_flagged_rows_are_touched():
    kept, dropped = verdict(HARMLESS, "S2"), Verdict("0" * 64, "oracle", {}, 1.0, "S2", "drop")

    for rules in (policy(S2="drop"), policy(S2="keep"), policy({"prompt": "drop", "response": "drop"})):
        assert apply_policy(rules, kept) == kept
        assert apply_policy(rules, dropped) == dropped


def test_what_could_not_be_screened_is_never_kept():
    broken = Verdict("0" * 64, "toy", {}, 1.0, "S2", "error", "policy-keep: not really")
    rules = policy({"prompt": "keep", "response": "keep"}, S2="keep")

    assert apply_policy(rules, broken) == broken
    assert not kept_by_policy(broken)


def test_a_row_that_the_policy_kept_still_counts_as_flagged():
    kept = apply_policy(policy(S2="keep"), verdict(ANSWER_S2, "S2"))

    assert flagged(kept)
    assert not flagged(verdict(HARMLESS))


@pytest.mark.parametrize("rules", [{"category": {"S44": "drop"}}, {"axis": {"refusal": "drop"}},
                                   {"category": {"S4": "burn"}}, {"rows": {}}])  # fmt: skip
def test_a_rule_that_nobody_could_follow_is_refused(rules):
    with pytest.raises(ConfigError):
        parse(ScreenConfig, {"policy": rules}, "the test")


class TopicFilter:
    """Flags by the answer's first word: "REQUEST" for what was asked (S6), "ANSWER" for what was said (S2)."""

    name, revision, threshold = "topics", "1", 0.5

    def score(self, samples: Sequence[Sample]) -> list[Verdict]:
        return [self._verdict(sample) for sample in samples]

    def _verdict(self, sample: Sample) -> Verdict:
        word = sample.response.split()[0]
        scores, category = {"ANSWER": (ANSWER_S2, "S2"), "REQUEST": (REQUEST_S6, "S6")}.get(word, (HARMLESS, None))
        settings: dict[str, Any] = {"name": self.name, "revision": "1", "threshold": 0.5, "category": category}
        return to_verdict(sample.id, [{}] if word == "STRANGE" else [scores], **settings)


class Relapsing:
    """Revises into what the filter flags for its request."""

    revision = "1"

    def generate(self, conversations: Sequence[Sequence[Message]], *, max_new_tokens: int) -> list[Generation]:  # noqa: ARG002
        return [Generation("REQUEST is all I can say about this.", "stop") for _ in conversations]


ROWS = [Sample.of(f"q{i}", f"{word} {i}") for i, word in enumerate(["fine", "ANSWER", "REQUEST", "REQUEST", "STRANGE"])]


def screened(out: Path, rules: PolicyConfig, **options: Any) -> dict[str, Any]:
    return screen_rows(ROWS, out, **{"action": "drop", "filter": TopicFilter(), "policy": rules, **options})


def test_the_manifest_counts_what_the_policy_kept_and_the_verdicts_say_why(tmp_path):
    manifest = screened(tmp_path, policy(S6="keep"))

    assert {key: manifest[key] for key in ("kept", "dropped", "errored", "policy_kept")} == {
        "kept": 3, "dropped": 1, "errored": 1, "policy_kept": 2,
    }  # fmt: skip
    assert manifest["policy"] == {"category": {"S6": "keep"}, "axis": {}}
    reasons = [row["reason"] for row in read_jsonl(tmp_path / "verdicts.jsonl")]
    assert reasons.count("policy-keep: harmful-prompt-complied") == 2


def test_another_policy_in_the_same_folder_is_refused_by_name(tmp_path):
    screened(tmp_path, policy(S6="keep"))

    for changed in (policy(), policy(S6="drop")):
        with pytest.raises(ConfigError, match="policy"):
            screened(tmp_path, changed)


def test_a_policy_that_revises_needs_a_reviser(tmp_path):
    with pytest.raises(ConfigError, match="action 'drop' cannot"):
        screened(tmp_path / "out", policy(S6="revise"))
    with pytest.raises(ConfigError, match="arm 'fedavg\\+filter'"):
        parse(ExperimentConfig, {"screen": {"policy": {"category": {"S6": "revise"}}}}, "the test")

    assert not (tmp_path / "out").exists()


def test_a_revised_answer_must_pass_the_screen_itself_whatever_the_policy_keeps():
    config = ReviseConfig(fallback="drop")

    screen, reviser = TopicFilter().score, Reviser(load_constitution(), config, Relapsing)
    decisions = decide(ROWS[1:2], screen([ROWS[1]]), screen, reviser, policy(S6="keep"))

    assert decisions[0].result == "dropped"


def node(screening: str, rules: PolicyConfig) -> NodeConfig:
    return NodeConfig(name="a", work=".", screening=screening, screen=ScreenConfig(policy=rules))  # type: ignore[arg-type]


@pytest.mark.parametrize("asked", ["none", "oracle", "drop", "revise"])
def test_a_server_cannot_change_a_clients_policy(asked):
    own = node("drop", policy({"prompt": "drop"}, S4="drop"))

    assert effective_screen(own, Ask(fingerprint={}, screening=asked, threshold=0.9))[1].policy == own.screen.policy


def test_a_server_that_sends_a_policy_is_refused():
    text = '{"fingerprint": {}, "screening": "drop", "threshold": 0.5, "policy": {"category": {"S4": "keep"}}}'

    with pytest.raises(ConfigError, match="policy"):
        from_text(Ask, text, "the question")


def test_a_client_whose_policy_revises_goes_on_revising_where_the_server_would_drop():
    own = node("revise", policy(S6="revise"))

    assert effective_screen(own, Ask(fingerprint={}, screening="drop", threshold=0.5))[0] == "revise"
