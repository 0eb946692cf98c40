import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from safefed.filters.static import PIECES, VECTORS, StaticVectors, quantized

TOKENS = ("[UNK]", "water", "##proof", "a", "_", "e")


@pytest.fixture(scope="module")
def static(tmp_path_factory):
    folder = tmp_path_factory.mktemp("static")
    pieces = Tokenizer(WordPiece({token: i for i, token in enumerate(TOKENS)}, unk_token="[UNK]"))
    pieces.normalizer, pieces.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
    pieces.save(str(folder / PIECES))
    save_file(quantized(np.eye(len(TOKENS), dtype=np.float32)), folder / VECTORS)
    return StaticVectors(folder)


@pytest.mark.parametrize(
    ("word", "pieces"),
    [
        ("water", ["water"]),
        ("Waterproof", ["water", "##proof"]),
        ("a_water", ["a", "_", "water"]),
        ("\u00e9", ["e"]),
        ("x2", ["[UNK]"]),
        ("", []),
    ],
)
def test_a_word_is_the_mean_of_its_pieces_and_nothing_is_zero(static, word, pieces):
    expected = np.zeros(len(TOKENS))
    for piece in pieces:
        expected[TOKENS.index(piece)] = 1 / len(pieces)

    found = static.vectors(["a", word, "water"])

    assert np.allclose(found[1], expected, atol=1e-3)
    assert np.array_equal(found[1], static.vectors([word])[0])
