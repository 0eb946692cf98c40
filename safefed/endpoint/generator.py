"""A model behind an OpenAI-compatible server (``POST …/chat/completions``): vLLM, llama.cpp, a cloud service.

What is asked leaves this process, and this machine unless the server runs on it.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from safefed.config import GeneratorConfig
from safefed.endpoint.answers import read_answer
from safefed.endpoint.problems import NoAnswerError, problem
from safefed.errors import ConfigError
from safefed.escape import neutralise
from safefed.generate import FAILED, Generation
from safefed.records import Message, content_hash

if TYPE_CHECKING:
    from ssl import SSLContext

    from anyio.from_thread import BlockingPortal
    from openai import AsyncOpenAI

TEMPERATURE, SEED = 0.0, 0
"""Sent with every request: greedy, and repeatable on servers that know ``seed``."""

_HELLO = (Message("user", "Say hello."),)
_HELLO_TOKENS = 16
_SERVED = ("id", "root", "parent", "max_model_len")


class EndpointGenerator:
    """A Generator over an OpenAI-compatible server, several requests at a time.

    A request that gets no connection, no answer in time, or HTTP 408, 409, 429 or 5xx is repeated: after the time that
    ``Retry-After`` asks for (up to 2 minutes; more is an error at once), else after 0.5 s, doubled up to 8 s, less up
    to a quarter by chance. Redirects are not followed, so that text goes to the host it was meant for and no other.

    A conversation that the server refuses (HTTP 400, say), does not answer in time or answers with something else
    gets ``finish`` "error"; the others are as they would be without it. Control tokens in message content are broken
    (``safefed.escape``); a conversation that is longer than the model's context is refused by the server, not clipped.

    Making one asks the server for its models and for one short answer, so that a wrong address, key or model name
    shows before any text of a client has left.

    Args:
        config: Address, model name, name of the key's variable, and limits.

    Attributes:
        revision: Hash of host and path, model name, temperature, seed, and what ``GET …/models`` says of the model
            (root, context length). Other weights behind the same names do not show. ``system_fingerprint`` is not in:
            large services answer with several at a time.

    Raises:
        ConfigError: the ``openai`` package or the key is missing, or the server refuses the key.
        DataError: the server cannot be reached or does not answer; for want of retries, also from ``generate``.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        self._openai, self._config, self._key = _library(), config, _key(config)
        parts = urlsplit(config.url or "")
        self._host = parts.netloc
        with self._session() as (portal, client):
            served = portal.call(self._served, client)
            portal.call(self._ask, client, _HELLO, _HELLO_TOKENS)
        self.revision = content_hash([parts.netloc, parts.path.rstrip("/"), config.model, served, TEMPERATURE, SEED])

    def generate(self, conversations: Sequence[Sequence[Message]], *, max_new_tokens: int) -> list[Generation]:
        """One greedy answer per conversation, in order. Raises DataError when the server no longer answers."""
        answers: dict[int, Generation] = {}
        for part in self.stream(conversations, max_new_tokens=max_new_tokens):
            answers |= part
        return [answers[i] for i in range(len(conversations))]

    def stream(
        self, conversations: Sequence[Sequence[Message]], *, max_new_tokens: int
    ) -> Iterator[dict[int, Generation]]:
        """See ``safefed.generate.Streaming``; before an error comes every answer that arrived."""
        todo, finished = iter(enumerate(conversations)), SimpleQueue[Future[Generation]]()
        waiting: dict[Future[Generation], int] = {}
        with self._session() as (portal, client):
            while True:
                # Not before the answers that were handed out are safe: so few are lost to a kill.
                for i, conversation in islice(todo, self._config.concurrency - len(waiting)):
                    task = portal.start_task_soon(self._answer, client, conversation, max_new_tokens)
                    waiting[task] = i
                    task.add_done_callback(finished.put)
                if not waiting:
                    return
                done = _arrived(finished)
                yield {waiting.pop(task): task.result() for task in done if not task.exception()}
                _raise_first(done)

    @contextmanager
    def _session(self) -> Iterator[tuple[BlockingPortal, AsyncOpenAI]]:
        """A client in an event loop of its own thread: there may be a loop in this one (notebooks have it)."""
        from anyio.from_thread import start_blocking_portal

        client = self._openai.AsyncOpenAI(
            api_key=self._key,
            base_url=self._config.url,
            timeout=self._config.timeout_s,
            max_retries=self._config.attempts - 1,
            http_client=self._openai.DefaultAsyncHttpxClient(follow_redirects=False, verify=_tls()),
        )
        with start_blocking_portal() as portal, portal.wrap_async_context_manager(client):
            yield portal, client

    async def _served(self, client: AsyncOpenAI) -> dict[str, Any]:
        """What the server says of the model and says every time; {} from a server that lists no models."""
        try:
            raw = await client.models.with_raw_response.list()
            listed = json.loads(raw.content)["data"]
            found: dict[str, Any] = next((each for each in listed if each["id"] == self._config.model), {})
        except self._openai.OpenAIError as error:
            if getattr(error, "status_code", None) in (404, 405, 501):
                return {}
            raise problem(error, self._host, self._config) from None
        except (ValueError, KeyError, TypeError, RecursionError):
            return {}
        return {key: found.get(key) for key in _SERVED}

    async def _answer(self, client: AsyncOpenAI, conversation: Sequence[Message], max_new_tokens: int) -> Generation:
        try:
            return await self._ask(client, conversation, max_new_tokens)
        except NoAnswerError:
            return FAILED

    async def _ask(self, client: AsyncOpenAI, conversation: Sequence[Message], max_new_tokens: int) -> Generation:
        turns: Any = [{"role": message.role, "content": _sendable(message.content)} for message in conversation]
        model: Any = self._config.model
        try:
            raw = await client.chat.completions.with_raw_response.create(
                model=model, messages=turns, max_tokens=max_new_tokens, temperature=TEMPERATURE, seed=SEED
            )
        except self._openai.OpenAIError as error:
            raise problem(error, self._host, self._config) from None
        answer = read_answer(raw.content)
        if answer is None:
            raise NoAnswerError(f"{self._host} answers with no chat completion; check the url, it often ends in /v1")
        return answer


def _library() -> Any:
    try:
        import openai
    except ImportError:
        raise ConfigError("an endpoint needs the openai package; run: pip install 'safefed[endpoint]'") from None
    return openai


@functools.cache
def _tls() -> SSLContext:
    """Made once: reading the certificates takes longer than many an answer."""
    from httpx2 import create_ssl_context

    return create_ssl_context()


def _key(config: GeneratorConfig) -> str:
    """The key; never that of $OPENAI_API_KEY unless it is named, which the openai package would send to any host."""
    if config.api_key_env is None:
        return "none"
    if not (key := os.environ.get(config.api_key_env, "").strip()):
        raise ConfigError(f"api_key_env names ${config.api_key_env}, which is not set: export {config.api_key_env}=…")
    return key


def _arrived(finished: SimpleQueue[Future[Generation]]) -> list[Future[Generation]]:
    """What is there, at least one."""
    arrived = [finished.get()]
    while not finished.empty():
        arrived.append(finished.get())
    return arrived


def _raise_first(done: Sequence[Future[Generation]]) -> None:
    for task in done:
        if error := task.exception():
            raise error


def _sendable(content: str) -> str:
    return neutralise(content).encode("utf-8", "replace").decode()
