import pytest

from safefed.config import ClientConfig, DataConfig, ExperimentConfig, SourceConfig, load_node
from safefed.errors import DataError
from safefed.experiment.partition import split, write_clients
from safefed.records import Sample
from safefed.sources import read_rows

BENIGN = [Sample.of(f"harmless {i}", "answer", unsafe=False) for i in range(40)]
UNSAFE = [Sample.of(f"unsafe {i}", "answer", unsafe=True) for i in range(10)]


def unsafe_counts(shares: list[list[Sample]]) -> list[int]:
    return [sum(s.label is True for s in share) for share in shares]


def test_k_clients_get_their_share_of_unsafe_rows_and_no_row_is_given_twice():
    data = DataConfig(clients=4, rows=10, unsafe_clients=2, unsafe_share=0.3)

    shares = split(BENIGN, UNSAFE, data, seed=1)

    assert [len(share) for share in shares] == [10] * 4
    assert unsafe_counts(shares) == [0, 0, 3, 3]
    ids = [s.id for share in shares for s in share]
    assert len(set(ids)) == len(ids)


def test_the_split_depends_on_the_seed_only():
    data = DataConfig(clients=4)

    assert split(BENIGN, UNSAFE, data, 1) == split(BENIGN, UNSAFE, data, 1) != split(BENIGN, UNSAFE, data, 2)


@pytest.mark.parametrize("change", [{"rows": 11}, {"rows": 10, "unsafe_share": 0.9}])
def test_too_few_rows_is_an_error_that_says_what_to_lower(change):
    data = DataConfig(**{"clients": 4, "unsafe_clients": 2, **change})

    with pytest.raises(DataError, match=r"lower data\.rows"):
        split(BENIGN, UNSAFE[:3], data, seed=1)


def test_the_written_clients_read_back_with_their_labels(tmp_path):
    config = ExperimentConfig(data=DataConfig(clients=2, rows=10, unsafe_clients=1, unsafe_share=0.5))

    files = write_clients(config, tmp_path)
    nodes = [load_node(file) for file in files]
    labels = [[row.label for row in read_rows(node.data[0])] for node in nodes]

    assert [node.name for node in nodes] == ["client-01", "client-02"]
    assert [sum(x is True for x in rows) for rows in labels] == [0, 5]
    assert all(None not in rows for rows in labels)


def test_a_clients_own_objective_is_written_into_its_configuration(tmp_path):
    own = {"sources": [SourceConfig(path="/rows.jsonl")]}
    clients = [ClientConfig(name="a", **own), ClientConfig(name="b", objective="dpo", beta=0.3, **own)]

    nodes = [load_node(f) for f in write_clients(ExperimentConfig(data=DataConfig(client=clients)), tmp_path)]

    assert [(node.objective, node.beta) for node in nodes] == [("sft", None), ("dpo", 0.3)]
