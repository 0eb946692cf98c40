"""GuardedStrategy: any Flower Message-API strategy, with every reply checked before it and every result after it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from safefed.errors import IntegrityError, QuorumError
from safefed.federation.guard import Rejected, checked_arrays, checked_metrics, norms
from safefed.records import UpdateVerdict, content_hash

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from safefed.adapter import State


def to_arrays(state: Mapping[str, NDArray[np.float32]]) -> ArrayRecord:
    """A LoRA state as Flower sends it."""
    return ArrayRecord({name: Array(np.ascontiguousarray(array)) for name, array in state.items()})


def to_state(arrays: ArrayRecord) -> State:
    """The inverse of ``to_arrays``."""
    return {name: arrays[name].numpy() for name in arrays}


def chosen_names(names: Iterable[str], k: int | None, seed: int, server_round: int) -> list[str]:
    """Who takes part in a round: a function of seed, round and names alone; sorted."""
    everyone = sorted(names)
    if k is None or k >= len(everyone):
        return everyone
    key = content_hash([seed, server_round, everyone])
    return sorted(random.Random(key).sample(everyone, k))  # noqa: S311 - reproducible, not secret


class _Chosen:
    """A grid on which only some nodes exist, so that a strategy's own sampling takes exactly those."""

    def __init__(self, grid: Grid, node_ids: Sequence[int]) -> None:
        self._grid = grid
        self._node_ids = list(node_ids)

    def get_node_ids(self) -> Iterable[int]:
        return self._node_ids

    def __getattr__(self, name: str) -> object:
        return getattr(self._grid, name)


class GuardedStrategy(Strategy):
    """Wraps ``inner`` so that one bad client cannot spoil a round.

    In order: drop errors, replies of another round and second replies; check keys, shapes, dtype, finiteness and
    ``num-examples``; require a quorum; hand what is left to ``inner``, sorted by client name; check the result.

    Args:
        inner: Any Message-API strategy that samples every node it sees.
        roster: Client name -> node id, kept up to date by the caller.
        choose: Who takes part in a round, by name.
        prepare: Completes one client's message: ``(message, name, round)``.
        min_clients: Accepted replies below which the round fails.
        max_examples: The largest ``num-examples`` believed.

    Raises:
        QuorumError: fewer than ``min_clients`` replies were accepted.
        IntegrityError: the aggregate is not finite or has other keys or shapes.
    """

    def __init__(
        self,
        inner: Strategy,
        *,
        roster: Mapping[str, int],
        choose: Callable[[int], Sequence[str]],
        prepare: Callable[[Message, str, int], None],
        min_clients: int = 1,
        max_examples: int = 1_000_000,
    ) -> None:
        self.inner = inner
        self.verdicts: list[UpdateVerdict] = []
        self.accepted: dict[str, RecordDict] = {}
        self._roster = roster
        self._choose = choose
        self._prepare = prepare
        self._min_clients = min_clients
        self._max_examples = max_examples
        self._reference: State = {}
        self._asked: list[str] = []

    @property
    def n_asked(self) -> int:
        """How many clients were sent a message in the last round."""
        return len(self._asked)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """One message per chosen client, in the order of their names."""
        self._reference = to_state(arrays)
        self._asked = list(self._choose(server_round))
        names = {self._roster[name]: name for name in self._asked}
        view = _Chosen(grid, list(names))
        messages = list(self.inner.configure_train(server_round, arrays, config, view))  # type: ignore[arg-type]
        messages = [
            Message(
                RecordDict({**m.content, "config": ConfigRecord(dict(m.content.config_records["config"]))}),
                dst_node_id=m.metadata.dst_node_id,
                message_type=m.metadata.message_type,
                group_id=str(server_round),
            )
            for m in sorted(messages, key=lambda m: names[m.metadata.dst_node_id])
        ]
        for message in messages:
            self._prepare(message, names[message.metadata.dst_node_id], server_round)
        return messages

    def _verdict(self, server_round: int, name: str, reply: Message) -> UpdateVerdict:
        try:
            if name not in self._asked:
                raise Rejected("not-asked")
            if reply.has_error():
                raise Rejected(f"error:{reply.error.reason}"[:120])
            if reply.metadata.group_id != str(server_round):
                raise Rejected("late")
            if name in self.accepted:
                raise Rejected("duplicate")
            arrays = checked_arrays(reply.content, self._reference)
            metrics = checked_metrics(reply.content, self._max_examples)
        except Rejected as rejected:
            return UpdateVerdict(server_round, name, accepted=False, reason=str(rejected))
        self.accepted[name] = RecordDict({"arrays": to_arrays(arrays), "metrics": metrics})
        return UpdateVerdict(server_round, name, accepted=True, reason="ok", norms=norms(arrays))

    def _judge(self, server_round: int, replies: Iterable[Message]) -> list[Message]:
        names = {self._roster[name]: name for name in self._asked}
        self.accepted, self.verdicts, passed = {}, [], {}
        for reply in replies:
            name = names.get(reply.metadata.src_node_id, "unknown")
            verdict = self._verdict(server_round, name, reply)
            self.verdicts.append(verdict)
            if verdict.accepted:
                reply.content = self.accepted[name]
                passed[name] = reply
        answered = {verdict.node for verdict in self.verdicts}
        self.verdicts += [UpdateVerdict(server_round, n, False, "missing") for n in self._asked if n not in answered]
        self.verdicts.sort(key=lambda verdict: (verdict.node, verdict.reason))
        return [passed[name] for name in sorted(passed)]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Guard, then the inner strategy, then the same checks on its result."""
        passed = self._judge(server_round, replies)
        if len(passed) < self._min_clients:
            reasons = ", ".join(f"{v.node}: {v.reason}" for v in self.verdicts if not v.accepted)
            raise QuorumError(
                f"round {server_round}: {len(passed)} of {len(self._asked)} replies were usable, train.min_clients is "
                f"{self._min_clients} ({reasons}); look at the clients' own logs, then rerun with --resume"
            )
        arrays, metrics = self.inner.aggregate_train(server_round, passed)
        if arrays is None:
            raise IntegrityError(f"round {server_round}: {type(self.inner).__name__} returned no arrays")
        try:
            result = checked_arrays(RecordDict({"arrays": arrays}), self._reference)
        except Rejected as rejected:
            raise IntegrityError(f"round {server_round}: the aggregate is unusable ({rejected})") from None
        return to_arrays(result), metrics

    def configure_evaluate(self, *_: object) -> Iterable[Message]:
        """No message: evaluation is the benchmark's work and each message costs a client process."""
        return []

    def aggregate_evaluate(self, *_: object) -> MetricRecord | None:
        """Nothing to aggregate."""
        return None

    def summary(self) -> None:
        """What the inner strategy says of itself."""
        self.inner.summary()
