"""One TOML file = one experiment. Unknown keys, wrong types, NaN and values out of range are errors.

Paths in a configuration are relative to its file; ``$NAME`` in a path is replaced from the environment. ``model.name``
and ``revise.constitution``, which may also be names, count as paths when they begin with ``./ ../ / ~`` or ``$``; so
does what follows the colon in ``screen.filter``.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from safefed.errors import ConfigError
from safefed.records import HAZARDS

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
ClientName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]
ArmName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,60}$")]
Screening = Literal["none", "oracle", "drop", "refuse", "revise"]
Fate = Literal["keep", "revise", "drop"]
Objective = Literal["sft", "dpo"]
DType = Literal["auto", "float32", "bfloat16", "float16"]


AnySection = TypeVar("AnySection", bound="Section")


class Section(BaseModel):
    """A part of the configuration: closed schema, immutable, no silent type conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


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


class ModelConfig(Section):
    """The base model: "tiny" (embedded), a folder, or a hub id with an optional pinned revision."""

    name: str = "tiny"
    revision: str | None = None
    dtype: DType = "auto"
    quantization: Literal["none", "8bit", "4bit"] = "none"
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"


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


class LoraSettings(Section):
    """The adapter, in peft's terms."""

    rank: Count = 16
    alpha: Count = 32
    dropout: Share = 0.0
    targets: list[str] | Literal["all-linear"] = "all-linear"


class TrainConfig(Section):
    """Federated rounds and what a client does in one of them; the defaults suit the embedded model and data.

    ``learning_rate`` is for clients that fine-tune on rows, ``dpo_learning_rate`` and ``beta`` are for those that train
    on preferences; ``schedule`` holds for both.
    """

    rounds: Count = 3
    clients_per_round: Count | None = None
    steps: Count = 20
    batch_size: Count = 8
    gradient_accumulation: Count = 1
    learning_rate: Positive = 2e-3
    dpo_learning_rate: Positive = 2e-4
    beta: Positive = 0.1
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    max_length: Count = 256
    gradient_checkpointing: bool = False
    lora: LoraSettings = LoraSettings()
    min_clients: Count = 1
    max_examples: Count = 1_000_000
    timeout_s: Positive = 3600.0
    wait_s: Positive = 120.0


class AlignConfig(Section):
    """Server-side constitutional alignment of the global model: supervised fine-tuning, then preferences (DPO).

    The model answers ``n_prompts`` red-team prompts (``prompts``; [] = the embedded set) and ``n_helpful`` harmless
    ones (``helpful``; best are look-alikes of harmful ones, [] = the embedded set, half of which are). Red-team answers
    that do not decline are critiqued and revised by ``critic``: the base model without the adapter, the global model
    itself, or the endpoint of ``revise``. A harmless prompt may bring an answer, for where both models decline.

    ``sft_steps`` are of supervised fine-tuning on safe answers, ``helpful_share`` of the rows being helpful answers;
    ``dpo_steps`` are of preference training on the model's mistakes, revisions over the answers they replaced and help
    over needless refusals, and on up to ``n_anchors`` prompts of each kind that it gets right: its refusal over what it
    says after ``prefill``, its help over a refusal of the constitution. Either may be 0, not both. ``tokens`` and
    ``seconds`` bound each of the two.
    Alignment runs once after the last round, or after every ``every``-th round.
    """

    prompts: list[SourceConfig] = []
    n_prompts: Count = 128
    helpful: list[SourceConfig] = []
    n_helpful: Count = 256
    every: Count | None = None
    critic: Literal["base", "self", "endpoint"] = "base"
    helpful_share: Annotated[float, Field(ge=0, lt=1)] = 0.75
    n_anchors: Annotated[int, Field(ge=0)] = 64
    prefill: Annotated[str, Field(min_length=1)] = "Sure, here is"
    sft_steps: Annotated[int, Field(ge=0)] = 0
    dpo_steps: Annotated[int, Field(ge=0)] = 40
    batch_size: Count = 8
    sft_learning_rate: Positive = 5e-4
    dpo_learning_rate: Positive = 2e-4
    beta: Positive = 0.1
    tokens: Count | None = None
    seconds: Positive | None = None

    @model_validator(mode="after")
    def _trains(self) -> Self:
        if not self.sft_steps and not self.dpo_steps:
            raise ValueError("sft_steps and dpo_steps are both 0, so nothing would be learnt; set one of them")
        return self


class BenchmarkConfig(Section):
    """Benchmarks, judges and greedy decoding limits."""

    suites: Annotated[list[str], Field(min_length=1)] = ["mini"]
    judges: Annotated[list[str], Field(min_length=1)] = ["refusal", "refusal-anywhere", "filter:linear"]
    paths: dict[str, str] = {}
    max_new_tokens: Count = 64
    batch_size: Count = 32
    limit: Count | None = None


class ArmConfig(Section):
    """One arm: whether it trains at all, how client rows are screened, and whether the server aligns.

    ``settings`` are its own values in the experiment's sections ``train`` and ``align``, e.g.
    ``settings = { align = { dpo_steps = 0 } }``.
    """

    train: bool = True
    screening: Screening = "none"
    align: bool = False
    settings: dict[Literal["train", "align"], dict[str, Any]] = {}

    @model_validator(mode="after")
    def _trains(self) -> Self:
        if not self.train and (self.align or self.screening != "none"):
            raise ValueError("an arm that does not train can neither screen nor align; set train = true")
        return self


DEFAULT_ARMS: dict[str, ArmConfig] = {
    "base": ArmConfig(train=False),
    "fedavg": ArmConfig(),
    "fedavg+oracle": ArmConfig(screening="oracle"),
    "fedavg+filter": ArmConfig(screening="drop"),
    "fedavg+cai": ArmConfig(align=True),
    "fedavg+filter+cai": ArmConfig(screening="revise", align=True),
}


class ExperimentConfig(Section):
    """Everything that decides an experiment's result."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,60}$")] = "default"
    seeds: Annotated[list[Seed], Field(min_length=1)] = [0]
    engine: Annotated[str, Field(pattern=r"^(inline|flower:[A-Za-z0-9_.-]+)$")] = "inline"
    threads: Count = 1
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    screen: ScreenConfig = ScreenConfig()
    revise: ReviseConfig = ReviseConfig()
    train: TrainConfig = TrainConfig()
    align: AlignConfig = AlignConfig()
    benchmark: BenchmarkConfig = BenchmarkConfig()
    arms: Annotated[dict[ArmName, ArmConfig], Field(min_length=1)] = DEFAULT_ARMS

    @model_validator(mode="after")
    def _arms_have_folders_of_their_own(self) -> Self:
        if taken := sorted({"stages", "work"} & self.arms.keys()):
            raise ValueError(f"no arm can be called {taken[0]!r}: the run folder has a folder of that name")
        return self

    @model_validator(mode="after")
    def _arms_settings_are_known(self) -> Self:
        for name in self.arms:
            self.for_arm(name)
        return self

    def for_arm(self, name: str) -> Self:
        """The experiment with the settings of one of its arms. Raises ConfigError if they are no settings."""
        own = self.arms[name].settings
        sections: dict[str, Section] = {"train": self.train, "align": self.align}
        trees = {key: {**sections[key].model_dump(), **values} for key, values in own.items()}
        where = f"arm {name!r}"
        return self.model_copy(update={key: parse(type(sections[key]), tree, where) for key, tree in trees.items()})

    @model_validator(mode="after")
    def _policy_can_be_kept(self) -> Self:
        for name, arm in self.arms.items():
            _check_policy(self.screen.policy, arm.screening, f"arm {name!r}")
        return self


def _check_policy(policy: PolicyConfig, screening: Screening, who: str) -> None:
    if screening == "drop" and policy.revises:
        raise ValueError(f"screen.policy revises, but {who} has screening = drop; take the rule out or write revise")


class NodeConfig(Section):
    """A client's own ``client.toml``; nothing in it comes from the server.

    ``data`` is what the node owns; it is screened on the node before anything trains on it. ``screening`` is a floor,
    ``screen.threshold`` a ceiling: the server may ask for a stricter screen, never for a weaker one. ``screen.policy``
    is the node's alone.

    ``objective`` says what the node trains for: "sft" on its rows, or "dpo" on its preference pairs, with its own
    ``beta`` if it names one. The server can change neither.
    """

    name: ClientName
    work: str
    model: ModelConfig = ModelConfig()
    data: list[SourceConfig] = []
    screening: Screening = "revise"
    screen: ScreenConfig = ScreenConfig()
    revise: ReviseConfig = ReviseConfig()
    objective: Objective = "sft"
    beta: Positive | None = None
    max_steps: Count = 10_000
    threads: Count = 1

    @model_validator(mode="after")
    def _policy_can_be_kept(self) -> Self:
        _check_policy(self.screen.policy, self.screening, "this node")
        return self


def _set_path(tree: dict[str, Any], assignment: str) -> None:
    key, separator, text = assignment.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"--set {assignment!r} has no '='; write --set train.rounds=5")
    try:
        value = tomllib.loads(f"value = {text}")["value"] if "\n" not in text else text
    except (tomllib.TOMLDecodeError, RecursionError):
        value = text
    *parents, leaf = key.strip().split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"--set {key}: {parent!r} is not a section")
    tree[leaf] = value


def _problem(problem: ErrorDetails) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "(whole file)"
    if problem["type"] != "extra_forbidden":
        return f"  {key}: {problem['msg'].removeprefix('Value error, ')}"
    names = {name for section in Section.__subclasses__() for name in section.model_fields}
    near = get_close_matches(str(problem["loc"][-1]), names, n=1)
    return f"  {key}: unknown key" + (f"; did you mean {near[0]}?" if near else "")


def parse(schema: type[AnySection], tree: Mapping[str, Any], where: str) -> AnySection:
    """Check ``tree`` against ``schema``.

    Raises:
        ConfigError: every problem at once, each with its key.
    """
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        problems = "\n".join(map(_problem, error.errors(include_url=False, include_input=False)))
        raise ConfigError(f"{where} has {error.error_count()} problem(s):\n{problems}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises ConfigError when it is missing, unreadable or malformed."""
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; give a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


def expand(path: str, base: Path) -> str:
    """``path`` with ``$NAME`` replaced and made absolute against ``base``; raises ConfigError on an unset name."""

    def lookup(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(2)
        if name not in os.environ:
            raise ConfigError(f"{path} uses ${name}, which is not set; run: export {name}=/path/to/data")
        return os.environ[name]

    expanded = re.sub(r"\$(?:\{(\w+)\}|(\w+))", lookup, path)
    try:
        return str(base / Path(expanded).expanduser())
    except RuntimeError:
        raise ConfigError(f"{path} names a home folder that does not exist; write the whole path") from None


def _resolve(value: Any, base: Path, key: str = "") -> Any:
    if isinstance(value, dict) and key == "where":  # column names, which may be "path" or "file"
        return value
    if isinstance(value, dict):
        return {k: _resolve(v, base, "path" if key == "paths" else k) for k, v in value.items()}
    if isinstance(value, list):
        return [_resolve(item, base, key) for item in value]
    if not isinstance(value, str):
        return value
    kind, colon, argument = value.partition(":") if key == "filter" else ("", "", value)
    maybe = (key in ("name", "constitution") or colon) and argument.startswith(("./", "../", "~", "/", "$"))
    return kind + colon + expand(argument, base) if maybe or key in ("path", "file", "work") else value


def _read_extended(path: Path, seen: Sequence[Path] = ()) -> dict[str, Any]:
    """A TOML file over the one that it ``extends``, whose values it overrides key by key; its paths are absolute."""
    path = path.resolve()
    if path in seen:
        raise ConfigError(f"{path} extends itself: {' -> '.join(p.name for p in (*seen, path))}")
    tree = read_toml(path)
    parent = tree.pop("extends", None)
    own: dict[str, Any] = _resolve(tree, path.parent)
    if parent is None:
        return own
    if not isinstance(parent, str):
        raise ConfigError(f"{path}: extends must be the path of one TOML file")
    return _over(_read_extended(path.parent / parent, (*seen, path)), own)


def _over(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``above`` laid over ``below``; sections are merged, except ``arms``, which are replaced as a whole."""
    both = dict(below)
    for key, value in above.items():
        merges = isinstance(value, dict) and isinstance(both.get(key), dict) and key != "arms"
        both[key] = _over(both[key], value) if merges else value
    return both


def load_experiment(path: Path | None = None, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read an experiment; without ``path``, the embedded default.

    Args:
        path: A TOML file; with ``extends = "OTHER.toml"`` at its top, only what differs from that one.
        overrides: ``a.b=value`` assignments in TOML syntax, applied last.

    Raises:
        ConfigError: with the file and every offending key.
    """
    base = path.resolve().parent if path else Path.cwd()
    tree = _read_extended(path) if path else {}
    for assignment in overrides:
        _set_path(tree, assignment)
    return parse(ExperimentConfig, _resolve(tree, base), str(path or "the default experiment with --set"))


def load_node(path: Path) -> NodeConfig:
    """Read a client's ``client.toml``. Raises ConfigError."""
    return parse(NodeConfig, _resolve(read_toml(path), path.resolve().parent), str(path))
