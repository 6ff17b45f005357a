"""Rows by position: slices, samples, the row index."""

from __future__ import annotations

import polars as pl

from robodf.plan.base import Names, Plan, Schema
from robodf.plan.bounds import UNKNOWN, Bounds
from robodf.plan.expr import Call, Col
from robodf.plan.node import lazy, node
from robodf.plan.spread import Phases, Placed, Spread


@node
class Slice(Plan):
    """`length` rows from `offset` on; a negative offset counts from the end; no length means to the end."""

    input: Plan
    offset: int
    length: int | None

    rowwise_cost = True
    repeats = True
    passes_paths = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        return inputs[0].slice(self.offset, self.length)

    @lazy
    def schema(self) -> Schema:
        return self.input.schema

    def needs(self, out: Names) -> tuple[Names, ...]:
        return (out,)

    def push_limit(self, n: int) -> Plan | None:
        if self.offset < 0 or (self.length is not None and self.length <= n):
            return None
        return self.replace(length=n)

    def spread(self) -> tuple[Spread, ...]:
        return (Placed(self._at),) if self.length is None and self.offset >= 0 else ()

    def _at(self, first: int, total: int) -> Plan:
        return self.replace(offset=max(self.offset - first, 0))

    def phases(self) -> Phases | None:
        if self.offset < 0:  # which rows those are, the last ones tell
            return Phases(lambda part: Slice(part, self.offset, None), lambda all_: self.replace(input=all_))
        if self.length is None:
            return None
        return Phases(
            lambda part: Slice(part, 0, self.offset + self.length),  # type: ignore[operator]
            lambda all_: self.replace(input=all_),
        )

    def passes(self, column: str) -> str | None:
        return column

    def estimate(self, *rows: float) -> float:
        return rows[0] if self.length is None else min(rows[0], self.length)

    def count(self) -> int | None:
        total = self.input.count()
        if total is None:
            return None
        start = max(0, total + self.offset) if self.offset < 0 else min(self.offset, total)
        if self.length is None:
            return total - start
        # A slice that begins before the first row loses what lies before it, as in Polars.
        end = total + self.offset + self.length if self.offset < 0 else self.offset + self.length
        return max(0, min(end, total) - start)

    def range_of(self, column: str) -> Bounds:
        return self.input.range_of(column)

    def in_memory(self) -> str | None:
        return "the last rows are known when all are read" if self.offset < 0 else None

    def label(self) -> str:
        if self.offset == 0:
            return f"Limit {self.length}"
        return f"Slice offset={self.offset} length={self.length}"


@node
class Sample(Plan):
    """A random part of the rows, in their order; the same seed and rows give the same part.

    `first` is the position of the first row in the whole, where this is a partition of it.
    """

    input: Plan
    n: int | None
    fraction: float | None
    seed: int
    first: int = 0

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        # The draw is a function of the row's position, not of when or where it was seen.
        drawn = numbered(inputs[0], _POSITION, self.first).with_columns(
            _draw(self.seed).alias(_DRAW),
        )
        if self.fraction is not None:
            kept = drawn.filter(pl.col(_DRAW) < _threshold(self.fraction)) if self.fraction < 1 else drawn
        else:
            kept = drawn.sort(_DRAW, _POSITION).head(self.n or 0).sort(_POSITION)
        return kept.drop(_POSITION, _DRAW)

    @lazy
    def schema(self) -> Schema:
        return self.input.schema

    def needs(self, out: Names) -> tuple[Names, ...]:
        return (out,)

    def spread(self) -> tuple[Spread, ...]:
        return () if self.fraction is None else (Placed(lambda first, total: self.replace(first=self.first + first)),)

    def passes(self, column: str) -> str | None:
        return column

    def estimate(self, *rows: float) -> float:
        return rows[0] * self.fraction if self.fraction is not None else min(rows[0], self.n or 0)

    def range_of(self, column: str) -> Bounds:
        return self.input.range_of(column)

    def label(self) -> str:
        return f"Sample {f'n={self.n}' if self.n is not None else f'fraction={self.fraction}'} seed={self.seed}"


_POSITION, _DRAW = "__robodf_position", "__robodf_draw"
_MASK = (1 << 64) - 1


def _draw(seed: int) -> pl.Expr:
    """A uniform 32-bit number for each position: the splitmix64 finaliser (Steele, Lea and Flood 2014).

    Written in arithmetic, not with Polars' hash, whose values differ between Polars versions.
    """
    z = pl.col(_POSITION).cast(pl.UInt64) + pl.lit((seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & _MASK, pl.UInt64)
    z = z * pl.lit(0x9E3779B97F4A7C15, pl.UInt64)
    z = (z ^ (z // pl.lit(1 << 30, pl.UInt64))) * pl.lit(0xBF58476D1CE4E5B9, pl.UInt64)
    z = (z ^ (z // pl.lit(1 << 27, pl.UInt64))) * pl.lit(0x94D049BB133111EB, pl.UInt64)
    return (z ^ (z // pl.lit(1 << 31, pl.UInt64))) // pl.lit(1 << 32, pl.UInt64)


def numbered(frame: pl.LazyFrame, name: str, offset: int) -> pl.LazyFrame:
    """The rows with their position in front."""
    # Directly on a scan, Polars 1.44 and 2.1 put the index into the scan, also for the other uses of that scan, and
    # then do not find the column. A select in between keeps them apart.
    return frame.select(pl.all()).with_row_index(name, offset)


def _threshold(fraction: float) -> pl.Expr:
    return pl.lit(round(fraction * (1 << 32)), pl.UInt64)


@node
class RowIndex(Plan):
    """The rows with their position in front."""

    input: Plan
    name: str
    offset: int

    rowwise_cost = True
    keeps_rows = True
    repeats = True
    same_count = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        return numbered(inputs[0], self.name, self.offset)

    def spread(self) -> tuple[Spread, ...]:
        return (Placed(lambda first, total: self.replace(offset=self.offset + first)),)

    def passes(self, column: str) -> str | None:
        return column

    def needs(self, out: Names) -> tuple[Names, ...]:
        return (out - {self.name},)

    def push_limit(self, n: int) -> Plan | None:
        from robodf.plan.nodes.project import limited

        return limited(self, n)

    def count(self) -> int | None:
        return self.input.count()

    def range_of(self, column: str) -> Bounds:
        return UNKNOWN if column == self.name else self.input.range_of(column)

    def label(self) -> str:
        return f"RowIndex {self.name}"


@node
class Count(Plan):
    """One row, one column `len`: the number of rows of the input."""

    input: Plan

    forgets_order = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        return inputs[0].select(pl.len())

    @lazy
    def schema(self) -> Schema:
        return dict(pl.LazyFrame().select(pl.len()).collect_schema())

    def needs(self, out: Names) -> tuple[Names, ...]:
        return (frozenset(),)

    def phases(self) -> Phases | None:
        from robodf.plan.nodes.aggregate import Aggregate

        return Phases(Count, lambda all_: Aggregate(all_, (("len", Call("sum", (Col("len"),))),)))

    def estimate(self, *rows: float) -> float:
        return 1

    def count(self) -> int | None:
        return 1


@node
class Known(Plan):
    """A count that metadata gave: no data is read for it."""

    rows: int
    of: str

    rowwise_cost = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        return pl.LazyFrame({"len": [self.rows]}, schema={"len": pl.get_index_type()})

    def estimate(self, *rows: float) -> float:
        return 1

    def label(self) -> str:
        return f"Known count {self.rows:,} (from the metadata of {self.of})"
