"""What a client does: prepare its own screened data set, train its adapter on it, and let out only what it must."""

from __future__ import annotations

import os
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from flwr.app import ConfigRecord, Context, Error, Message, MetricRecord, RecordDict

from safefed import __version__
from safefed.config import NodeConfig, ScreenConfig, Screening, load_node
from safefed.errors import ConfigError, SafefedError
from safefed.federation.guard import EXAMPLES_KEY, LOSS_KEYS
from safefed.federation.objectives import train_locally, trained_on
from safefed.federation.plan import JOB_KEY, Ask, Hello, Job, from_text
from safefed.store import sha256_file

if TYPE_CHECKING:
    from safefed.screening import Treatment

CLIENT_KEY = "client-config"
"""The node-config key that names this node's ``client.toml``."""

CLIENTS_VARIABLE = "SAFEFED_CLIENTS"
"""In simulation only: the folder whose sub-folders, sorted, hold one ``client.toml`` per partition."""

STRICTNESS: dict[Screening, int] = {"none": 0, "oracle": 1, "drop": 2, "refuse": 2, "revise": 2}
"""A refusal template is as strict as a revision: nothing unsafe is trained on."""

ACTIONS: dict[Screening, Treatment] = {
    "none": "keep", "oracle": "oracle", "drop": "drop", "refuse": "revise", "revise": "revise",
}  # fmt: skip
ERROR_CODE = 1000


class Mismatch(SafefedError):
    """The server's view of something is not this client's; ``field`` says of what."""

    def __init__(self, field: str) -> None:
        super().__init__(f"the server's {field} is not this client's")
        self.field = field


def node_config(context: Context) -> NodeConfig:
    """This node's own configuration; nothing the server sends can change where it is read from.

    Raises:
        ConfigError: no configuration is named, or it is invalid.
    """
    if CLIENT_KEY in context.node_config:
        return load_node(Path(str(context.node_config[CLIENT_KEY])))
    if CLIENTS_VARIABLE in os.environ and "partition-id" in context.node_config:
        files = sorted(Path(os.environ[CLIENTS_VARIABLE]).glob("*/client.toml"))
        partition = int(context.node_config["partition-id"])
        if partition < len(files):
            return load_node(files[partition])
    raise ConfigError(f"this node has no client.toml; start it with --node-config '{CLIENT_KEY}=\"/path/client.toml\"'")


def effective_screen(node: NodeConfig, ask: Ask) -> tuple[Screening, ScreenConfig]:
    """The stricter of what the node demands and what the server asks for; the policy is always the node's own."""
    stricter = STRICTNESS[ask.screening] >= STRICTNESS[node.screening]
    screening = ask.screening if stricter else node.screening
    if screening == "drop" and node.screen.policy.revises:  # as strict, and what the policy needs
        screening = "revise"
    threshold = _stricter_threshold(node.screen, ask.threshold) if stricter else node.screen.threshold
    return screening, node.screen.model_copy(update={"threshold": threshold})


def _stricter_threshold(own: ScreenConfig, asked: float | None) -> float | None:
    from safefed.filters import load_filter

    if asked is None:
        return own.threshold
    return min(asked, load_filter(own.filter).threshold if own.threshold is None else own.threshold)


def check_identity(node: NodeConfig, ask: Ask) -> None:
    """Raises Mismatch unless version, base weights, tokenizer and chat template are the same on both sides."""
    from safefed.models import load_model

    if ask.version != __version__:
        raise Mismatch("version")
    mine = load_model(node.model).fingerprint
    for field in sorted(mine.keys() | ask.fingerprint.keys()):
        if mine.get(field) != ask.fingerprint.get(field):
            raise Mismatch(field)


def prepared(node: NodeConfig, ask: Ask) -> tuple[Path, Screening]:
    """The folder of this client's screened data set, made if it is not there; other rows or settings have another."""
    from safefed.preprocessing import preprocess_below

    screening, screen = effective_screen(node, ask)
    revise = node.revise.model_copy(update={"attempts": 0} if screening == "refuse" else {})
    action, work = ACTIONS[screening], Path(node.work)
    folder = preprocess_below(work, screening, node.data, action=action, screen=screen, revise=revise, model=node.model)
    return folder, screening


def _hello(message: Message, node: NodeConfig) -> RecordDict:
    from safefed.store import read_manifest

    ask = from_text(Ask, message.content.config_records["config"].get(JOB_KEY), "the server's question")
    check_identity(node, ask)
    folder, screening = prepared(node, ask)
    manifest = read_manifest(folder) or {}
    counts = {key: manifest[key] for key in ("n_in", "kept", "revised", "dropped", "errored", "policy_kept", "pairs")}
    digest = sha256_file(trained_on(folder, node.objective))
    hello = Hello(name=node.name, dataset=digest, screening=screening, objective=node.objective, **counts)
    return RecordDict({"config": ConfigRecord({"hello": hello.model_dump_json()})})


def _train(message: Message, node: NodeConfig) -> RecordDict:
    from safefed.adapter import Adapter
    from safefed.federation.strategy import to_arrays, to_state

    job = from_text(Job, message.content.config_records["config"].get(JOB_KEY), "the server's training job")
    check_identity(node, job)
    if job.steps > node.max_steps:
        raise Mismatch("steps")
    folder, _ = prepared(node, job)
    start = Adapter(job.lora, to_state(message.content.array_records["arrays"]))
    trained, report = train_locally(node, job, folder, start)
    metrics = MetricRecord({EXAMPLES_KEY: report.n_rows})
    metrics.update(dict(zip(LOSS_KEYS, (report.first_loss, report.last_loss), strict=True)))
    return RecordDict({"arrays": to_arrays(trained.state), "metrics": metrics})


def _guarded(work: Callable[[Message, NodeConfig], RecordDict], message: Message, context: Context) -> Message:
    """Run ``work``; whatever goes wrong crosses to the server as a code and an opaque id, never as text."""
    from safefed.models import torch_threads

    incident = uuid.uuid4().hex[:12]
    log = Path(os.environ.get("SAFEFED_CLIENT_LOG", "safefed-client-errors.log"))
    try:
        node = node_config(context)
        log = Path(node.work) / "errors.log"
        with torch_threads(node.threads):
            return Message(work(message, node), reply_to=message)
    except Exception as error:  # noqa: BLE001 - the boundary: sample text in a message must not reach the server
        code = f"mismatch:{error.field}" if isinstance(error, Mismatch) else type(error).__name__
        cause = traceback.format_exc()
    _log_locally(log, f"--- {incident} {code}\n{cause}\n")
    return Message(Error(code=ERROR_CODE, reason=f"{code}:{incident}"), reply_to=message)


def _log_locally(log: Path, entry: str) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as handle:
        handle.write(entry)


def hello(message: Message, context: Context) -> Message:
    """Answer the server's question before the first round: prepare the data set, say its counts and hash."""
    return _guarded(_hello, message, context)


def train(message: Message, context: Context) -> Message:
    """One round of local training on the screened data set."""
    return _guarded(_train, message, context)
