from hypothesis import given
from hypothesis import strategies as st

from safefed.filters.batching import batches, each_once, in_batches


@given(st.lists(st.integers(0, 600)), st.integers(1, 4096))
def test_every_row_is_in_one_batch_and_only_single_rows_exceed_the_budget(lengths, budget):
    found = list(batches(lengths, budget))

    assert sorted(i for batch in found for i in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget for batch in found)


@given(st.lists(st.integers(1, 600), min_size=1), st.integers(1, 4096))
def test_batches_hold_rows_of_neighbouring_lengths_longest_first(lengths, budget):
    order = [i for batch in batches(lengths, budget) for i in batch]

    assert [lengths[i] for i in order] == sorted(lengths, reverse=True)


@given(st.lists(st.integers(0, 5)), st.integers(1, 20))
def test_rows_of_unequal_length_share_no_batch_where_there_must_be_no_padding(lengths, budget):
    found = list(batches(lengths, budget, equal=True))

    assert sorted(i for batch in found for i in batch) == list(range(len(lengths)))
    assert all(len({lengths[i] for i in batch}) == 1 for batch in found)


@given(st.lists(st.text(max_size=5)), st.integers(1, 20))
def test_results_come_back_in_order_each_distinct_item_having_been_worked_on_once(items, budget):
    seen = []

    def work(batch):
        seen.extend(batch)
        return [item.upper() for item in batch]

    found = each_once(items, lambda distinct: in_batches(distinct, list(map(len, distinct)), budget, work))

    assert found == [item.upper() for item in items]
    assert sorted(seen) == sorted(set(items))
