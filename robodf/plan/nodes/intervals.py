"""Tables of closed intervals, `start` to `end`, in groups `by`: overlaps, differences, unions."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from robodf.compat import run
from robodf.io.stream import from_batches
from robodf.plan.base import Names, Plan, Schema
from robodf.plan.bounds import Bounds
from robodf.plan.expr import Col, Expr, substitute
from robodf.plan.node import lazy, node
from robodf.plan.nodes.filter import Filter, with_filters
from robodf.plan.nodes.map import batches_of
from robodf.plan.nodes.segment import between, length_type, ticks
from robodf.plan.nodes.unique import constant_in_groups
from robodf.plan.overlap import Groups, Overlaps, Spans
from robodf.plan.spread import AS_INPUT, Beside, Spread
from robodf.plan.spread import Groups as Together

BOUNDS = ("start", "end")
_ROWS, _PAIRS = 1 << 17, 1 << 21


class _Beside(Plan):
    """What the operators on rows (or intervals) and intervals share. The intervals are held, the rows pass by."""

    left: Plan
    right: Plan
    bounds: tuple[str, str]
    by: tuple[str, ...]

    cuts = True

    def _prepared(self, right: pl.LazyFrame) -> tuple[pl.DataFrame, Groups, Overlaps]:
        table = run(right)
        groups = Groups(table, self.by)
        return table, groups, Overlaps(Spans(table, BOUNDS, groups, self._time))

    def spread(self) -> tuple[Spread, ...]:
        keys: tuple[Expr, ...] = tuple(map(Col, self.by))
        return (Together((keys, keys), AS_INPUT), Beside(0)) if keys else (Beside(0),)

    def passes(self, column: str) -> str | None:
        return column if column in self.left.schema else None

    def estimate(self, *rows: float) -> float:
        return rows[0]

    def survivors(self, k: int, *rows: float) -> float:
        return 0.5 if k == 0 else 1.0  # as of a join: some lie in no interval

    @property
    def _time(self) -> pl.DataType:
        return self.left.schema[self.bounds[0]]

    def in_memory(self) -> str | None:
        return "the intervals are held whole"

    def label(self) -> str:
        on = dict.fromkeys(self.bounds)
        return f"{type(self).__name__} {' to '.join(on)}{' by ' + ', '.join(self.by) if self.by else ''}"


@node
class Within(_Beside):
    """The rows that an interval of the right overlaps, each once, in order. A row is a point where its bounds are one.

    Bounds of null overlap nothing, and null groups equal null groups.
    """

    left: Plan
    right: Plan
    bounds: tuple[str, str]
    by: tuple[str, ...]

    passes_paths = True

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        left, right = inputs

        def batches() -> Iterator[pl.DataFrame]:
            _, groups, overlaps = self._prepared(right)
            for batch in batches_of(left, _ROWS):
                found = overlaps.counts(Spans(batch, self.bounds, groups, self._time)) > 0
                yield batch.filter(pl.Series(found))

        return from_batches(batches, self.schema, "within")

    @lazy
    def schema(self) -> Schema:
        return self.left.schema

    def needs(self, out: Names) -> tuple[Names, ...]:
        return out.union(self.bounds, self.by), frozenset((*BOUNDS, *self.by))

    def push(self, predicate: Expr) -> Plan | None:
        if not predicate.columns:
            return None
        right = self.right
        if constant_in_groups(predicate, frozenset(self.by), self.left.schema):
            right = Filter(right, predicate)
        return self.replace(left=Filter(self.left, predicate), right=right)

    def range_of(self, column: str) -> Bounds:
        return self.left.range_of(column)


@node
class JoinOverlaps(_Beside):
    """One row for each row of the left and interval of the right that overlap; in the order of the left, then right.

    `columns` are (name in the output, name in the right) of the columns that the right adds.
    """

    left: Plan
    right: Plan
    bounds: tuple[str, str]
    by: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        left, right = inputs
        renamed = [pl.col(ref).alias(name) for name, ref in self.columns]

        def batches() -> Iterator[pl.DataFrame]:
            table, groups, overlaps = self._prepared(right)
            added = table.select(renamed)
            for batch in batches_of(left, max(_ROWS, table.height)):
                others = Spans(batch, self.bounds, groups, self._time)
                for rows, intervals in overlaps.pairs(others, _PAIRS):
                    made = batch[rows]
                    yield made.hstack(added[intervals].get_columns()) if self.columns else made
            yield pl.DataFrame(schema=self.schema)

        return from_batches(batches, self.schema, "join_overlaps")

    @lazy
    def schema(self) -> Schema:
        return {**self.left.schema, **{name: self.right.schema[ref] for name, ref in self.columns}}

    def needs(self, out: Names) -> tuple[Names, ...]:
        left = (out & self.left.schema.keys()).union(self.bounds, self.by)
        return left, frozenset((*BOUNDS, *self.by, *(ref for name, ref in self.columns if name in out)))

    def prune(self, out: Names) -> Plan:
        kept = tuple(pair for pair in self.columns if pair[0] in out)
        return self if len(kept) == len(self.columns) else self.replace(columns=kept)

    def push(self, predicate: Expr) -> Plan | None:
        if not predicate.columns:
            return None
        if predicate.columns <= self.left.schema.keys():
            right = self.right
            if constant_in_groups(predicate, frozenset(self.by), self.left.schema):
                right = with_filters(right, [predicate])
            return self.replace(left=with_filters(self.left, [predicate]), right=right)
        refs: dict[str, Expr] = {name: Col(ref) for name, ref in self.columns}
        if predicate.columns <= refs.keys():
            return self.replace(right=with_filters(self.right, [substitute(predicate, refs)]))
        return None


@node
class SubtractIntervals(_Beside):
    """The parts of the intervals of the left that are in none of the right, which do not overlap each other.

    A part has the columns of its interval; `start`, `end` and, where there is one, `duration` are its own.
    """

    left: Plan
    right: Plan
    bounds: tuple[str, str]
    by: tuple[str, ...]

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        left, right = inputs
        start, end = (pl.col(name) for name in BOUNDS)

        def batches() -> Iterator[pl.DataFrame]:
            _, groups, overlaps = self._prepared(right)
            for batch in batches_of(left, _ROWS):
                rows, low, high = overlaps.outside(Spans(batch, BOUNDS, groups, self._time))
                types = (self.left.schema[name] for name in BOUNDS)
                made = [pl.Series(n, v).cast(t) for n, v, t in zip(BOUNDS, (low, high), types)]
                parts = batch[rows].with_columns(made)
                if self.left.schema.get("duration") == length_type(self._time):
                    parts = parts.with_columns(between(start, end, self._time).alias("duration"))
                yield parts

        return from_batches(batches, self.schema, "subtract_intervals")

    @lazy
    def schema(self) -> Schema:
        return self.left.schema

    def passes(self, column: str) -> str | None:
        return column if column not in (*BOUNDS, "duration") else None

    def survivors(self, k: int, *rows: float) -> float:
        return 1.0

    def needs(self, out: Names) -> tuple[Names, ...]:
        return out.union(BOUNDS, self.by), frozenset((*BOUNDS, *self.by))

    def push(self, predicate: Expr) -> Plan | None:
        if not predicate.columns or predicate.columns & {*BOUNDS, "duration"}:
            return None
        right = self.right
        if constant_in_groups(predicate, frozenset(self.by), self.left.schema):
            right = Filter(right, predicate)
        return self.replace(left=Filter(self.left, predicate), right=right)


@node
class MergeIntervals(Plan):
    """The intervals of each group, those joined that are at most `gap` apart: `by`, start, end, duration, in order."""

    input: Plan
    by: tuple[str, ...]
    gap: int

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        start, end, dtype = pl.col("start"), pl.col("end"), self.input.schema["start"]
        ordered = inputs[0].select(*self.by, start, end).filter(start <= end).sort(*self.by, *BOUNDS)
        reached = end.cum_max().shift(1)
        reached = reached.over(*self.by) if self.by else reached
        rows = ordered.with_columns(reached.alias(_REACHED))
        apart = ticks(start, dtype) - ticks(pl.col(_REACHED), dtype)
        # Less than nothing, although it starts later: an overflow.
        alone = (start > pl.col(_REACHED)) & ((apart > self.gap) | (apart < 0))
        run_number = (pl.col(_REACHED).is_null() | alone).cum_sum()
        return (
            rows.with_columns(run_number.alias(_RUN))
            .group_by(_RUN, maintain_order=True)
            .agg(*(pl.col(name).first() for name in self.by), start.first(), end.max())
            .select(*self.by, *BOUNDS, between(start, end, dtype).alias("duration"))
        )

    def needs(self, out: Names) -> tuple[Names, ...]:
        return (frozenset((*BOUNDS, *self.by)),)

    def push(self, predicate: Expr) -> Plan | None:
        if not predicate.columns or not constant_in_groups(predicate, frozenset(self.by), self.input.schema):
            return None
        return self.replace(input=Filter(self.input, predicate))

    def spread(self) -> tuple[Spread, ...]:
        return (Together((tuple(map(Col, self.by)),), (*self.by, "start")),) if self.by else ()

    def passes(self, column: str) -> str | None:
        return column if column in self.by else None

    def in_memory(self) -> str | None:
        return "it sorts by start"

    def label(self) -> str:
        return f"MergeIntervals gap={self.gap}{' by ' + ', '.join(self.by) if self.by else ''}"


_REACHED, _RUN = "__robodf_reached", "__robodf_run"
