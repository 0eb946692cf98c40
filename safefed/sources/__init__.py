"""Reading users' data: any common container and row format, every row a sample or a counted bad row."""

from safefed.sources.detected import Detected, describe
from safefed.sources.guard import refuse_eval_data
from safefed.sources.plan import source_files, source_hashes
from safefed.sources.reader import read_pool, read_rows
from safefed.sources.rows import BadRow

__all__ = [
    "BadRow",
    "Detected",
    "describe",
    "read_pool",
    "read_rows",
    "refuse_eval_data",
    "source_files",
    "source_hashes",
]
