"""Episodes: the runs of rows in time for which a condition holds, or that no gap separates."""

from __future__ import annotations

import polars as pl

from robodf.plan.base import Names, Plan, Schema
from robodf.plan.bounds import UNKNOWN, Bounds
from robodf.plan.expr import Col, Expr
from robodf.plan.node import lazy, node
from robodf.plan.nodes.filter import Filter
from robodf.plan.nodes.unique import constant_in_groups
from robodf.plan.spread import AS_INPUT, Groups, Order, Spread, window_keys

_INSIDE, _CUT, _START, _RUN, _LONG, _POSITION = (
    f"__robodf_{name}" for name in "inside cut start run long position".split()
)


class _Segmented(Plan):
    """A run ends where `when` is not true, where rows are more than `gap` apart, and with the group of `by`; and before
    a row for which `at` is true.

    `gap` and `min_duration` are in the units of the column `on`. Rows without a time are in no run.
    """

    input: Plan
    by: tuple[str, ...]
    on: str
    when: Expr | None
    gap: int | None
    min_duration: int | None
    at: Expr | None

    def _runs(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """The rows of `frame`, which has the marks, in time order in each group, with the number of their run."""
        inside, time = pl.col(_INSIDE), ticks(pl.col(self.on), self.input.schema[self.on])
        cut = ~inside.shift(1, fill_value=False)
        for name in self.by:
            cut = cut | pl.col(name).ne_missing(pl.col(name).shift(1))
        if self.gap is not None:
            apart = time - time.shift(1)
            cut = cut | (apart > self.gap) | (apart < 0)  # times are in order: less than nothing is an overflow
        if self.at is not None:
            cut = cut | pl.col(_CUT)
        ordered = frame.sort(*self.by, self.on, maintain_order=True)
        return ordered.with_columns((inside & cut).alias(_START)).with_columns(pl.col(_START).cum_sum().alias(_RUN))

    def _marks(self) -> list[pl.Expr]:
        """Of each row whether it may be in a run, and whether one is cut before it."""
        there = pl.col(self.on).is_not_null()
        inside = there if self.when is None else there & self.when.polars.fill_null(False)
        return [inside.alias(_INSIDE), *([] if self.at is None else [self.at.polars.fill_null(False).alias(_CUT)])]

    @property
    def _conditions(self) -> tuple[Expr, ...]:
        return tuple(e for e in (self.when, self.at) if e is not None)

    def _used(self) -> Names:
        return frozenset((*self.by, self.on)).union(*(e.columns for e in self._conditions))

    def push(self, predicate: Expr) -> Plan | None:
        if not predicate.columns or not constant_in_groups(predicate, frozenset(self.by), self.input.schema):
            return None
        if not all(e.rowwise for e in self._conditions):  # it reads the rows of other groups as well
            return None
        return self.replace(input=Filter(self.input, predicate))

    def _in_groups(self, order: Order) -> tuple[Spread, ...]:
        wide = tuple(e for e in self._conditions if not e.rowwise)
        windows = window_keys(wide) if wide else ()
        if not self.by or windows is None:
            return ()
        keys: tuple[Expr, ...] = tuple(map(Col, self.by))
        if wide:
            keys = tuple(k for k in keys if any(k is other for other in windows))
        return (Groups((keys,), order),) if keys else ()

    def in_memory(self) -> str | None:
        return "it sorts by time"

    def label(self) -> str:
        parts = [f"on {self.on}"]
        parts += [f"by {', '.join(self.by)}"] if self.by else []
        parts += [f"when {self.when!r}"] if self.when is not None else []
        parts += [f"at {self.at!r}"] if self.at is not None else []
        parts += [f"gap={self.gap}"] if self.gap is not None else []
        parts += [f"min_duration={self.min_duration}"] if self.min_duration is not None else []
        return f"{type(self).__name__} {' '.join(parts)}"


@node
class Segments(_Segmented):
    """One row for each run: the columns `by`, segment, start, end, duration, rows; in the order of `by` and start."""

    input: Plan
    by: tuple[str, ...]
    on: str
    when: Expr | None
    gap: int | None
    min_duration: int | None
    at: Expr | None

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        time, dtype = pl.col(self.on), self.input.schema[self.on]
        rows = self._runs(inputs[0].select(*self.by, self.on, *self._marks()).filter(time.is_not_null()))
        table = (
            rows.filter(_INSIDE)
            .group_by(_RUN, maintain_order=True)
            .agg(
                *(pl.col(name).first() for name in self.by if name != self.on),
                time.first().alias("start"),
                time.last().alias("end"),
                pl.len().cast(pl.UInt32).alias("rows"),
            )
            .with_columns(between(pl.col("start"), pl.col("end"), dtype).alias("duration"))
        )
        if self.min_duration is not None:
            table = table.filter(pl.col("duration").to_physical() >= self.min_duration)
        index = pl.int_range(pl.len(), dtype=pl.UInt32)
        index = index.over(*self.by) if self.by else index
        return table.with_columns(index.alias("segment")).select(
            *self.by, "segment", "start", "end", "duration", "rows"
        )

    def needs(self, out: Names) -> tuple[Names, ...]:
        return (self._used(),)

    def spread(self) -> tuple[Spread, ...]:
        return self._in_groups((*self.by, "start"))

    def passes(self, column: str) -> str | None:
        return column if column in self.by else None

    def estimate(self, *rows: float) -> float:
        return rows[0] / 1000


@node
class WithSegment(_Segmented):
    """All rows in their order, with the number of their run in its group as the column `name`; null outside."""

    input: Plan
    by: tuple[str, ...]
    on: str
    when: Expr | None
    gap: int | None
    min_duration: int | None
    at: Expr | None
    name: str

    passes_paths = True
    same_count = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        from robodf.plan.nodes.rows import numbered

        rows = self._runs(numbered(inputs[0].with_columns(self._marks()), _POSITION, 0))
        if self.min_duration is not None:
            time = ticks(pl.col(self.on), self.input.schema[self.on])
            inside = pl.col(_INSIDE)
            runs = rows.with_columns(**{_LONG: (time.last() - time.first()).over(_INSIDE, _RUN) >= self.min_duration})
            rows = runs.with_columns(inside & pl.col(_LONG), (pl.col(_START) & pl.col(_LONG)).alias(_START))
        index = pl.col(_START).cum_sum()
        index = index.over(*self.by) if self.by else index
        numbers = pl.when(_INSIDE).then(index - 1).cast(pl.UInt32).alias(self.name)
        return rows.with_columns(numbers).sort(_POSITION).select(*self.input.schema, self.name)

    @lazy
    def schema(self) -> Schema:
        _ = super().schema  # types of the condition and the times are checked there
        return {**self.input.schema, self.name: pl.UInt32()}

    def needs(self, out: Names) -> tuple[Names, ...]:
        return ((out - {self.name}) | self._used(),)

    def spread(self) -> tuple[Spread, ...]:
        return self._in_groups(AS_INPUT)

    def passes(self, column: str) -> str | None:
        return column if column != self.name else None

    def prune(self, out: Names) -> Plan:
        return self if self.name in out else self.input

    def count(self) -> int | None:
        return self.input.count()

    def range_of(self, column: str) -> Bounds:
        return UNKNOWN if column == self.name else self.input.range_of(column)


def ticks(time: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A column of times or integers as integers of 64 bits."""
    return time.to_physical() if dtype == pl.UInt64 else time.to_physical().cast(pl.Int64)


def between(start: pl.Expr, end: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The length of an interval: of integers one of 64 bits, so that it has room."""
    return ticks(end, dtype) - ticks(start, dtype) if dtype.is_integer() else end - start


def length_type(dtype: pl.DataType) -> pl.DataType:
    """The type of `between` for bounds of that type."""
    if dtype.is_integer():
        return pl.UInt64() if dtype == pl.UInt64 else pl.Int64()
    return pl.Duration(dtype.time_unit)  # type: ignore[attr-defined]
