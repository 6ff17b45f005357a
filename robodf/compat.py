"""The differences between Polars 1.44 and 2.x, all in one place."""

from __future__ import annotations

import inspect
import re
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

POLARS = tuple(int(part) for part in re.findall(r"\d+", pl.__version__)[:2])
"""(major, minor) of the installed Polars."""

_failures: dict[str, BaseException] = {}
_TOKEN = re.compile(r"robodf-failure-[0-9a-f]{32}")


def explode_options() -> dict[str, Any]:
    """An empty list gives no row, as in Polars 2; 1.44 gives a null row unless told."""
    return {"empty_as_null": False}


def keep_failure(error: BaseException) -> BaseException:
    """What a Python source should raise so that `original_failure` finds `error` again.

    Polars 2 hands an exception of a Python source to the caller as it is; 1.44 turns it into a text.
    """
    if POLARS >= (2, 0):
        return error
    token = f"robodf-failure-{uuid.uuid4().hex}"
    _failures[token] = original_failure(error)  # it may come from a source that this one reads
    return RuntimeError(token)


def original_failure(error: BaseException) -> BaseException:
    """The exception that a Python source raised, out of the one that Polars gives."""
    found = _TOKEN.search(str(error))
    return _failures.pop(found.group(), error) if found else error


def supported(function: Any, options: dict[str, Any]) -> dict[str, Any]:
    """`options` without those that this version's `function` does not have."""
    known = inspect.signature(function).parameters
    return {name: value for name, value in options.items() if name in known}


def ordered_groups(aggs: list[pl.Expr]) -> bool:
    """Whether a group-by of `aggs` must keep the order of its groups for its rows to be right.

    The streaming engine of 1.44 splits the input of a group-by that both filters within its groups and counts distinct
    values, and at times returns columns of different lengths; with the order kept it takes another way.
    """
    text = " ".join(map(str, aggs)) if POLARS < (2, 0) else ""
    return "unique" in text and any(name in text for name in (".filter(", ".drop_nulls(", ".drop_nans("))


# Polars' own optimizer may do all but forget the order of rows where it thinks that nobody sees it. It is wrong about
# that on 1.44 and 2.1: a slice of a join that keeps order, counted, has another number of rows.
KEEP_ORDER = pl.QueryOptFlags(check_order_observe=False)


def run(query: pl.LazyFrame) -> pl.DataFrame:
    """All rows of a Polars query, by the streaming engine."""
    return query.collect(engine="streaming", optimizations=KEEP_ORDER)


def looked_up(frame: pl.DataFrame, table: pl.DataFrame, on: Sequence[str]) -> pl.DataFrame:
    """Each row of `frame` with the row of `table` that equals it on the columns `on`, nulls and NaN too."""
    # Not DataFrame.join: the in-memory engine of 1.44 and 2.1 does not find the NaN of a table of one row for one row.
    return run(frame.lazy().join(table.lazy(), on=on, how="left", nulls_equal=True, maintain_order="left"))


def run_in_batches(query: pl.LazyFrame, size: int) -> Iterator[pl.DataFrame]:
    """The rows of a Polars query in order, in frames of exactly `size` rows and a rest."""
    return query.collect_batches(chunk_size=size, maintain_order=True, engine="streaming", optimizations=KEEP_ORDER)
