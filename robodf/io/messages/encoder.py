"""What the encoders of messages have in common."""

from __future__ import annotations

import polars as pl


class Unencodable(ValueError):
    """Row `row` of a batch cannot become a message; `why` continues the sentence "row 7 ..."."""

    def __init__(self, row: int, why: str):
        super().__init__(f"row {row} {why}")
        self.row = row
        self.why = why


def first_true(mask: pl.Series) -> int:
    """The position of the first True of a mask that has one."""
    found = mask.fill_null(False).arg_max()
    assert found is not None
    return found
