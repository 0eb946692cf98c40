"""Whose rows there are, where they come from and how they are read."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from safefed.config.sections import Count, Positive, Section, Share

ClientName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]
Objective = Literal["sft", "dpo"]


class JoinConfig(Section):
    """Replace the values of ``key`` (row indices into ``file``, or values of ``on``) by ``column`` of ``file``."""

    file: str
    key: str
    column: str
    on: str | None = None


class BucketConfig(Section):
    """Keep only rows whose prompt falls in one of ``keep`` of ``of`` buckets (sha-256 of the prompt, modulo ``of``)."""

    of: Count
    keep: Annotated[list[int], Field(min_length=1)]

    @model_validator(mode="after")
    def _within(self) -> Self:
        if not all(0 <= bucket < self.of for bucket in self.keep):
            raise ValueError(f"keep must name buckets from 0 to {self.of - 1} (of = {self.of})")
        return self


class SourceConfig(Section):
    """Where rows come from and how to read them; what is None is detected, and ambiguity is an error."""

    path: str
    format: (
        Literal[
            "alpaca", "gpteacher", "dolly", "messages", "sharegpt", "prompt-completion", "preference", "hh", "columns"
        ]
        | None
    ) = None
    prompt: str | None = None
    response: str | None = None
    label: str | None = None
    unsafe_values: list[str] = ["1", "true", "unsafe", "harmful"]
    join: JoinConfig | None = None
    where: dict[str, str] = {}
    bucket: BucketConfig | None = None
    limit: Count | None = None

    @model_validator(mode="after")
    def _columns(self) -> Self:
        if self.response is not None and self.prompt is None:
            raise ValueError(f'response = {self.response!r} needs prompt = "COLUMN" too')
        if self.format == "columns" and self.prompt is None:
            raise ValueError('format = "columns" needs prompt = "COLUMN"')
        if self.prompt is not None and self.format not in (None, "columns"):
            raise ValueError(f"prompt names a column, so format = {self.format!r} would be ignored; leave one out")
        return self


class ClientConfig(Section):
    """One client and the files it owns; ``objective`` and ``beta`` as in its own ``client.toml``."""

    name: ClientName
    sources: Annotated[list[SourceConfig], Field(min_length=1)]
    objective: Objective = "sft"
    beta: Positive | None = None


class DataConfig(Section):
    """Who owns what: either ``client`` tables (files per client), or one pool split over ``clients`` iid.

    With ``unsafe``, ``unsafe_clients`` of the clients have ``unsafe_share`` of their ``rows`` replaced by unsafe rows.
    An empty section means the embedded default data.
    """

    client: list[ClientConfig] = []
    clients: Count = 4
    benign: list[SourceConfig] = []
    unsafe: list[SourceConfig] = []
    unsafe_clients: Annotated[int, Field(ge=0)] = 2
    unsafe_share: Share = 0.3
    rows: Count | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.client and (self.benign or self.unsafe):
            raise ValueError("give either [[data.client]] tables or benign/unsafe sources to split, not both")
        if self.unsafe and not self.benign:
            raise ValueError("data.unsafe needs data.benign to be mixed into")
        mixed = not self.client and (self.unsafe or not self.benign)
        if mixed and self.unsafe_clients > self.clients:
            raise ValueError(f"unsafe_clients={self.unsafe_clients} is more than clients={self.clients}")
        names = [client.name for client in self.client]
        if len(set(names)) != len(names):
            raise ValueError("two clients have one name; names must be unique")
        return self
