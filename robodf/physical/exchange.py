"""The nodes that a plan has only when it is cut: pieces of sources, and rows on their way between partitions.

Each means what its input means, so a cut plan is a plan: it prints, it has a schema, and run in one place it gives the
same rows. What the partitions are is said by the field names and done by `stages.py`.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from robodf.plan.base import Names, Plan, Schema
from robodf.plan.expr import Expr
from robodf.plan.node import lazy, node


class Exchange(Plan):
    """Rows that go from the partitions of the input to others."""

    input: Plan

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        return inputs[0]

    @lazy
    def schema(self) -> Schema:
        return self.input.schema

    def needs(self, out: Names) -> tuple[Names, ...]:
        return (out,)

    def passes(self, column: str) -> str | None:
        return column


@node
class Pieces(Exchange):
    """A source, or a frame in memory, in pieces: tuples of splits, or (first row, number of rows)."""

    input: Plan
    pieces: tuple[Any, ...]
    of: str  # what a piece is made of, for explain()

    def label(self) -> str:
        return f"Pieces {len(self.pieces):,} of {self.of}"


@node
class Gather(Exchange):
    """All partitions as one, one after the other; `limit` rows are enough."""

    input: Plan
    limit: int | None

    def label(self) -> str:
        return "Gather" + ("" if self.limit is None else f", {self.limit:,} rows are enough")


@node
class Broadcast(Exchange):
    """All rows to each partition of the other input of an operator."""

    input: Plan

    def label(self) -> str:
        return "Broadcast"


@node
class ByHash(Exchange):
    """Rows with equal keys to one of so many partitions. Within it they have the order that they had."""

    input: Plan
    keys: tuple[Expr, ...]
    partitions: int

    def label(self) -> str:
        to = f"{self.partitions} partition{'s' * (self.partitions != 1)}"
        return f"Shuffle by hash of [{', '.join(map(repr, self.keys))}] to {to}"


@node
class ByRange(Exchange):
    """Rows to partitions of ranges of the sort keys, found from a sample; equal keys to one partition."""

    input: Plan
    by: tuple[Expr, ...]
    descending: tuple[bool, ...]
    nulls_last: tuple[bool, ...]
    partitions: int

    def label(self) -> str:
        return f"Shuffle by range of [{', '.join(map(repr, self.by))}] to {self.partitions} partitions"


@node
class Counted(Exchange):
    """The partitions as they are, each computed and counted, so that each knows where in the whole it lies.

    With `again` nothing is kept of them but the count: they are computed again, and their wide columns only then.
    """

    input: Plan
    again: bool = False

    def label(self) -> str:
        return "Count partitions" + (", to be read again" if self.again else "")


@node
class Rebatched(Exchange):
    """Partitions that begin at multiples of `size` rows of the whole."""

    input: Plan
    size: int

    def label(self) -> str:
        return f"Cut at batches of {self.size:,} rows"


TAG = "__robodf_at"


@node
class Tagged(Exchange):
    """The rows with a number that has their order as the last column, so that a shuffle does not forget it."""

    input: Plan
    first: int = 0

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        at = pl.int_range(pl.len(), dtype=pl.UInt64) + pl.lit(self.first, pl.UInt64)
        return inputs[0].with_columns(at.alias(TAG))

    @lazy
    def schema(self) -> Schema:
        return {**self.input.schema, TAG: pl.UInt64()}

    def needs(self, out: Names) -> tuple[Names, ...]:
        return (out - {TAG},)

    def label(self) -> str:
        return "Number the rows"


@node
class Received(Plan):
    """The rows of blocks that other tasks made, one block after the other."""

    blocks: tuple[int, ...]
    columns: tuple[tuple[str, Any], ...]

    at_hand = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        raise RuntimeError("received rows are put in place of this node before it is lowered")

    @lazy
    def schema(self) -> Schema:
        return dict(self.columns)

    def label(self) -> str:
        return f"Received {len(self.blocks)} blocks"
