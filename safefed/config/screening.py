"""What flags a client's rows and what becomes of those: policy, screen, revision."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from safefed.config.sections import Count, Positive, Section, Seed, Share
from safefed.records import HAZARDS

Screening = Literal["none", "oracle", "drop", "refuse", "revise"]
Fate = Literal["keep", "revise", "drop"]


class PolicyConfig(Section):
    """What becomes of a flagged row by its hazard category, or by the axis that flagged it.

    ``axis`` "prompt": a harmful request was answered; "response": the answer is harmful in itself. A rule for the row's
    category goes before one for its axis, and that before what the treatment does to every other flagged row.
    """

    category: dict[str, Fate] = {}
    axis: dict[Literal["prompt", "response"], Fate] = {}

    @model_validator(mode="after")
    def _known(self) -> Self:
        if unknown := sorted(self.category.keys() - HAZARDS.keys()):
            raise ValueError(f"{unknown[0]!r} is neither a hazard category (S1 to S14) nor an axis (prompt, response)")
        return self

    @property
    def revises(self) -> bool:
        """Whether a rule needs a reviser."""
        return "revise" in {*self.category.values(), *self.axis.values()}


class ScreenConfig(Section):
    """The client-side screen.

    ``threshold`` is the unsafe probability from which a row is flagged; None: the filter's own. ``policy`` says what
    becomes of flagged rows of some kinds; without it the treatment (revise or drop) is one for all.
    """

    filter: str = "linear"
    threshold: Share | None = None
    policy: PolicyConfig = PolicyConfig()


class GeneratorConfig(Section):
    """What writes critiques and revisions: the model of the ``model`` section, or one behind a server.

    ``url`` is the base that ``/chat/completions`` is added to, and ``model`` the name the server knows it by.
    ``api_key_env`` names the environment variable with the key. At most ``concurrency`` requests are on their way; each
    is tried ``attempts`` times, ``timeout_s`` seconds long.
    """

    kind: Literal["local", "endpoint"] = "local"
    url: str | None = None
    model: str | None = None
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 8
    timeout_s: Positive = 120.0
    attempts: Annotated[int, Field(ge=1, le=20)] = 6

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind == "local":
            if self.url or self.model or self.api_key_env:
                raise ValueError('url, model and api_key_env are for kind = "endpoint"; add it, or take them out')
            return self
        if not self.url or not self.model:
            raise ValueError('kind = "endpoint" needs url = "http://HOST:PORT/v1" and model = "NAME"')
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("url is no http or https address; write it like http://localhost:8000/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("url holds a user, a password or a query, which would be written to disk; use api_key_env")
        return self

    @property
    def notice(self) -> str:
        """Where text goes, for the person who watches; "" if nothing leaves this process."""
        if self.url is None:
            return ""
        parts = urlsplit(self.url)
        open_ = parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1")
        return f"their text is sent to {parts.netloc}{', unencrypted' if open_ else ''}"


class ReviseConfig(Section):
    """The constitutional stage: which principles, how many attempts, and what happens when all fail.

    An attempt starts from the original answer and has up to ``rounds`` rounds, each of which critiques and revises the
    text of the one before; it ends when the screen passes. Without attempts (0) no model is asked: flagged answers
    become refusals of the constitution at once. ``seed`` moves the choice among principles of equal rank.
    With ``keep_originals`` False no answer that was flagged is written anywhere: neither pairs (a client's or the
    server's) nor critiques, which may quote it, nor the bytes of rows in quarantine.
    """

    constitution: str = "default"
    attempts: Annotated[int, Field(ge=0, le=10)] = 3
    rounds: Annotated[int, Field(ge=1, le=10)] = 1
    seed: Seed = 0
    fallback: Literal["refuse", "drop"] = "refuse"
    keep_originals: bool = True
    max_new_tokens: Count = 96
    batch_size: Count = 32
    generator: GeneratorConfig = GeneratorConfig()

    def decisive(self) -> dict[str, Any]:
        """What decides the text of a revision, as JSON values: not how fast or with which key a server is asked."""
        return self.model_dump(
            mode="json", exclude={"generator": {"api_key_env", "concurrency", "timeout_s", "attempts"}}
        )
