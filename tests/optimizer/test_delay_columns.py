"""Work on columns that a dedup does not compare is done for the rows that stay."""

from __future__ import annotations

import pytest

import robodf as rd
from robodf import col
from robodf.optimizer.delay_columns import delay_columns


def test_computed_columns_come_after(df, fires) -> None:
    fires(df.with_columns(y=col("s").str.to_uppercase()).dedup("k"), delay_columns, """
        WithColumns [y=col("s").str.to_uppercase()]
          Dedup on k, keep first: exact, each verified by value
            InMemory 4 rows, 5 columns""")  # fmt: skip


def test_a_users_function_is_called_for_the_rows_that_stay() -> None:
    seen: list[int] = []

    frame = rd.from_dict({"i": [1, 2, 3], "k": ["a", "a", "b"]})
    embedded = frame.pipe(rd.embed("i", lambda batch: seen.extend(batch) or [[float(i)] for i in batch], dim=1))
    assert embedded.dedup("k").collect().select("i", "k").rows() == [(1, "a"), (3, "b")]
    assert seen == [1, 3]


@pytest.mark.parametrize(
    "make",
    [
        lambda df: df.with_columns(k=col("k") + 1).dedup("k"),  # what is compared
        lambda df: df.with_columns(y=col("x").sum()).dedup("k"),  # of all rows
        lambda df: df.with_columns(y=col("s").str.to_uppercase()).dedup("k", keep=rd.best("y")),
        lambda df: df.with_columns(y=col("s").str.to_uppercase()).dedup("k", within="y"),
        lambda df: df.with_columns(y=col("s").str.to_uppercase()).clusters("k"),  # its columns come last
        lambda df: df.with_columns(y=col("k") + 1).dedup("k"),  # nothing to save
    ],
)
def test_stays(df, keeps, make) -> None:
    keeps(make(df), delay_columns)
