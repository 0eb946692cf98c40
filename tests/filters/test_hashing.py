import numpy as np
import pytest
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.utils import murmurhash3_32

from safefed.filters.hashing import character_columns, word_hashes

WORDS = ["a", "ab", "water", "\u00e9t\u00e9", "\u65e5\u672c\u8a9e", "\U0001f600x", "aaaaaaaaa", "w" * 40, "3_4"]


@pytest.mark.parametrize("words", [WORDS, WORDS[:1], []])
def test_hashes_are_those_of_scikit_learn(words):
    assert word_hashes(words).tolist() == [murmurhash3_32(word, positive=True) for word in words]


@pytest.mark.parametrize("columns", [2**17, 8])
def test_character_ngrams_are_those_of_scikit_learn(columns):
    slow = HashingVectorizer(
        analyzer="char_wb", ngram_range=(3, 5), n_features=columns, norm=None, alternate_sign=False, binary=True
    )

    owner, column = character_columns(WORDS, columns)

    rows = np.zeros((len(WORDS), columns))
    rows[owner, column] = 1
    assert np.array_equal(rows, slow.transform(WORDS).toarray())
    assert len(owner) == rows.sum()
    assert character_columns([], columns)[0].tolist() == []
