"""The names of the columns that a dedup makes for itself."""

from __future__ import annotations

VALUE = "__robodf_value"
"""What is compared."""

ROW = "__robodf_row"
"""The number of a row, 0 the first; -1 - k is row k of an earlier data set."""

THERE = "__robodf_there"
"""Of an index: whether a row has anything to compare."""

KEY = "__robodf_key"
SAME = "__robodf_same"
"""Whether rows share a KEY because they are the same."""

WORDS = ("__robodf_word_0", "__robodf_word_1")
"""What rows have in common that are the same; null where a method does not know."""

BETTER, WORSE, SIMILARITY = "__robodf_better", "__robodf_worse", "__robodf_similarity"
BETTER_VALUE, WORSE_VALUE = "__robodf_better_value", "__robodf_worse_value"
WITNESS = "__robodf_witness"


def of_column(name: str) -> str:
    """For a message: the column, unless it has no name that the user knows."""
    return "" if name == VALUE else f" of {name!r}"


def within_column(k: int) -> str:
    """The column with key number `k` of the groups inside which rows are compared."""
    return f"__robodf_within_{k}"


def rank_column(k: int) -> str:
    """The column with value number `k` that says which of two rows is better."""
    return f"__robodf_rank_{k}"


def band_column(k: int) -> str:
    """Of an index: the column with the keys of band `k`."""
    return f"__robodf_band_{k}"


def ranked(name: str, side: str) -> str:
    """Of a pair: the column with a rank of its better or its worse row."""
    return f"{name}_{side}"
