"""Row-wise work stays where its rows are."""

from __future__ import annotations

import polars as pl

from robodf import col


def test_a_chain_runs_on_each_piece(df, cuts) -> None:
    done = cuts(df.filter(col("x") > 0).with_columns(z=col("t") * 2).explode("l").select("k", "z", "l"), """
        Select [k, z, l]
          Explode l
            WithColumns [z=col("t") * 2]
              Filter col("x") > 0
                Pieces 3 of 12 rows
                  InMemory 12 rows, 5 columns""")  # fmt: skip
    assert done.place.parts == 3
    assert done.place.ordered


def test_wide_to_long_runs_on_each_piece(df, cuts) -> None:
    cuts(df.unpivot(on=["x", "t"], index="k"), """
        Unpivot [x, t] index=[k]
          Pieces 3 of 12 rows
            InMemory 12 rows, 5 columns""", ordered=False)  # fmt: skip


def test_a_function_of_one_row_runs_on_each_piece(df, cuts) -> None:
    def double(row: dict) -> dict:
        if row["t"] is None:  # a branch: it cannot be traced into an expression
            return {"z": 0}
        return {"z": row["t"] * 2}

    frame = df.map(double, schema={"z": pl.Int64})
    done = cuts(frame, f"""
        {frame._plan.label()}
          Pieces 3 of 12 rows
            InMemory 12 rows, 5 columns""")  # fmt: skip
    assert frame._plan.label().startswith("MapBatches")
    assert done.place.parts == 3


def test_what_reads_other_rows_is_not_row_by_row(df, cuts) -> None:
    cuts(df.with_columns(m=col("x").sum()), """
        WithColumns [m=col("x").sum()]
          Gather
            Pieces 3 of 12 rows
              InMemory 12 rows, 5 columns""")  # fmt: skip
    cuts(df.filter(col("t") > col("t").mean()), """
        Filter col("t") > col("t").mean()
          Gather
            Pieces 3 of 12 rows
              InMemory 12 rows, 5 columns""")  # fmt: skip
    cuts(df.select(col("x").cum_sum()), """
        Select [x=col("x").cum_sum()]
          Gather
            Select [x]
              Pieces 3 of 12 rows
                InMemory 12 rows, 5 columns""")  # fmt: skip
    cuts(df.with_columns(m=col("t").shift(1)), """
        WithColumns [m=col("t").shift(1)]
          Gather
            Pieces 3 of 12 rows
              InMemory 12 rows, 5 columns""")  # fmt: skip
