"""A real server process on loopback answers; no part of the client is replaced."""

import asyncio
import hashlib
import json
import sys
import time
from pathlib import Path

import pytest

from safefed.benchmarking import benchmark_model
from safefed.config import BenchmarkConfig, GeneratorConfig, ModelConfig
from safefed.errors import ConfigError, DataError
from safefed.eval.benchmarks import Benchmark, Case
from safefed.eval.judges import load_judge
from safefed.filters import load_filter
from safefed.generate import FAILED, Generation, Tokens
from safefed.generations import load_generator
from safefed.progress import Silent
from safefed.records import Message

QUESTIONS = [(Message("user", f"question {i}"),) for i in range(8)]


def expected(conversation: tuple[Message, ...]) -> Generation:
    digest = hashlib.sha256(json.dumps([m.to_json() for m in conversation]).encode()).hexdigest()
    said = ["No, I would rather not do that:", *(f"w{digest[i : i + 4]}" for i in range(0, 16, 4))]
    return Generation(" ".join(said), "stop", Tokens(7, 2, 11))


def test_answers_come_in_order_with_their_finish_and_tokens(server):
    generator = server.generator()

    answers = generator.generate(QUESTIONS, max_new_tokens=50)
    (cut,) = generator.generate(QUESTIONS[:1], max_new_tokens=3)

    assert answers == [expected(question) for question in QUESTIONS]
    assert cut == Generation("No, I would", "length", Tokens(7, 2, 3))
    assert generator.generate([], max_new_tokens=3) == []


def test_no_more_requests_are_on_their_way_than_concurrency_says(server):
    generator = server.generator(concurrency=3)
    server.call("faults", {"*": "brief"})

    generator.generate(QUESTIONS, max_new_tokens=50)

    assert server.asked()["peak"] == 3


@pytest.mark.parametrize("fault", ["garbage", "truncated", "silent", "filtered", "400"])
def test_an_answer_that_cannot_be_used_is_the_error_of_its_conversation_and_shifts_no_neighbour(server, fault: str):
    generator = server.generator(concurrency=1)
    server.faults(n3=fault)

    answers = generator.generate(QUESTIONS, max_new_tokens=50)

    assert answers == [expected(question) if i != 3 else FAILED for i, question in enumerate(QUESTIONS)]


def test_a_conversation_that_is_not_answered_in_time_is_an_error_and_the_others_are_answered(server):
    generator = server.generator(concurrency=8, timeout_s=0.2, attempts=1)
    server.faults(n0="slow")

    answers = generator.generate(QUESTIONS, max_new_tokens=50)

    assert [answer == expected(q) for answer, q in zip(answers, QUESTIONS, strict=True)].count(False) == 1
    assert FAILED in answers


@pytest.mark.parametrize("fault", ["429", "500", "broken"])
def test_a_passing_fault_is_tried_again_and_changes_nothing(server, fault: str):
    generator = server.generator()
    server.faults(n2=fault, n7=fault)

    assert generator.generate(QUESTIONS, max_new_tokens=50) == [expected(question) for question in QUESTIONS]


def test_the_time_a_server_asks_for_is_waited(server):
    generator = server.generator()
    server.faults(n0="wait")

    started = time.monotonic()
    generator.generate(QUESTIONS[:1], max_new_tokens=50)

    assert time.monotonic() - started >= 0.7  # left to itself the client waits half a second at most


@pytest.mark.parametrize(
    ("fault", "said"), [("429", "HTTP 429, rate_limit"), ("500", "HTTP 500"), ("redirect", "not followed")]
)
def test_a_fault_that_does_not_pass_is_a_clear_error_after_the_attempts_without_text(server, fault: str, said: str):
    generator = server.generator()
    server.call("faults", {"*": fault})

    with pytest.raises(DataError, match=said) as caught:
        generator.generate(QUESTIONS[:1], max_new_tokens=50)

    assert "127.0.0.1" in str(caught.value)
    assert "canary" not in str(caught.value)
    assert server.asked()["n"] == (1 if fault == "redirect" else 3)


def test_what_was_answered_before_the_server_failed_is_handed_out_first(server):
    generator = server.generator(concurrency=1, attempts=1)
    server.faults(n5="500")
    heard: dict[int, Generation] = {}

    def listen() -> None:
        for part in generator.stream(QUESTIONS, max_new_tokens=50):
            heard.update(part)

    with pytest.raises(DataError, match="HTTP 500"):
        listen()

    assert heard == {i: expected(QUESTIONS[i]) for i in range(5)}


def test_answers_that_the_server_does_not_count_have_no_tokens(server):
    generator = server.generator()
    server.faults(n0="uncounted")

    assert generator.generate(QUESTIONS[:1], max_new_tokens=50)[0].tokens is None


def test_a_wrong_address_is_told_before_anything_is_asked(server):
    with pytest.raises(DataError, match="often ends in /v1"):
        server.generator(url=server.url.removesuffix("/v1"))
    with pytest.raises(DataError, match=r"127\.0\.0\.1:9 cannot be reached \(1 attempt"):
        server.generator(url="http://127.0.0.1:9/v1", attempts=1)

    assert server.asked()["n"] == 0


def test_the_key_comes_from_the_named_variable_only_and_stands_in_no_message(server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "of-another-service")
    monkeypatch.setenv("MINE", "wrong-key")

    with pytest.raises(ConfigError, match="not set: export ABSENT=") as unset:
        server.generator(api_key_env="ABSENT")
    with pytest.raises(ConfigError, match=r"refuses the key \(HTTP 401, invalid_api_key\), which is \$MINE") as refused:
        server.generator(api_key_env="MINE")
    monkeypatch.setenv("MINE", "right-key")
    server.generator(api_key_env="MINE")
    server.generator()

    assert set(server.asked()["keys"]) == {"wrong-key", "right-key", "none"}
    assert "wrong-key" not in f"{refused.value}{unset.value}"


def test_the_revision_changes_with_the_server_and_not_with_the_pace(server):
    revision = server.generator().revision

    assert server.generator(concurrency=2, attempts=5).revision == revision
    assert server.generator(url=server.url + "/").revision == revision
    assert server.generator(url=server.url.replace("127.0.0.1", "localhost")).revision != revision


def test_a_notebook_whose_event_loop_is_running_may_ask_too(server):
    async def cell() -> list[Generation]:
        return server.generator().generate(QUESTIONS[:2], max_new_tokens=50)

    assert asyncio.run(cell()) == [expected(question) for question in QUESTIONS[:2]]


def test_control_tokens_and_text_without_utf8_are_sent_harmless(server):
    generator = server.generator()

    (answer,) = generator.generate([(Message("user", "hi<|im_end|>\ud800"),)], max_new_tokens=50)

    assert answer == expected((Message("user", "hi< |im_end|>?"),))


def test_a_case_that_got_no_answer_is_unscored_and_the_benchmark_goes_on(server, tmp_path: Path):
    cases = tuple(Case(str(i), f"question {i}", True) for i in range(4))
    made = Benchmark("made", "safe rate", cases, "none", "0" * 64)
    generator = server.generator(concurrency=1)
    server.faults(n1="garbage")

    judges = [load_judge("refusal", load_filter)]
    config = BenchmarkConfig()
    results = benchmark_model(generator, [made], judges, tmp_path, seed=0, config=config, progress=Silent())

    assert (results["made"]["refusal"]["n"], results["made"]["refusal"]["n_unscored"]) == (3, 1)


def test_a_missing_package_is_named_with_what_installs_it(server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "openai", None)

    with pytest.raises(ConfigError, match=r"pip install 'safefed\[endpoint\]'"):
        server.generator()


@pytest.mark.slow
def test_the_embedded_model_behind_a_server_says_what_it_says_here(serving):
    here = load_generator(GeneratorConfig(), ModelConfig(dtype="float32", device="cpu"), batch_size=8)
    conversations = [(Message("user", f"Tell me about {what}."),) for what in ("birds", "bread", "the sea", "chess")]

    with serving("tiny") as server:
        there = load_generator(server.config(timeout_s=60.0), ModelConfig(), batch_size=8)
        answers = there.generate(conversations, max_new_tokens=24)

    assert [(a.text, a.finish) for a in answers] == [
        (a.text, a.finish) for a in here.generate(conversations, max_new_tokens=24)
    ]
