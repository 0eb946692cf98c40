from collections import Counter
from contextlib import contextmanager

import pytest


class Seen:
    """A Progress that counts."""

    def __init__(self) -> None:
        self.parts: Counter[str] = Counter()
        self.open: set[str] = set()

    @contextmanager
    def task(self, description, _total, *, part=False):
        self.open.add(description)
        yield lambda n: self.parts.update({description: n} if part else {})
        self.open.remove(description)


@pytest.fixture
def seen() -> Seen:
    return Seen()
