"""Intervals of time: tables with the columns `start` and `end`, and the rows that lie in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.errors import OptionError, QueryError, SchemaError, column_not_found
from robodf.frame.base import FrameBase
from robodf.plan.base import Plan, Schema
from robodf.plan.comparison import IN_UNIT
from robodf.plan.durations import check_time, in_units, shifted
from robodf.plan.expr import Call, Col, Expr
from robodf.plan.nodes.filter import Filter
from robodf.plan.nodes.intervals import BOUNDS, JoinOverlaps, MergeIntervals, SubtractIntervals, Within
from robodf.plan.nodes.project import Select, WithColumns
from robodf.plan.nodes.segment import length_type
from robodf.plan.resolve import Named, column_names

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame

_Plans = tuple[Plan, Plan, tuple[str, ...]]


class Intervals(FrameBase):
    """Methods on tables of intervals, such as `segment` makes: columns `start` and `end`, and those of `by`.

    Intervals are closed: a row at `start` and a row at `end` lie in it, as the last row of an episode does. An interval
    without a start or an end, or that ends before it starts, is empty: nothing lies in it. Null groups equal null.
    """

    def within(self, intervals: Any, on: str = "log_time", by: Any = "recording") -> PipelineDataFrame:
        """The rows whose time lies in one of the intervals, each once, in their order.

        `by` are the columns that must be equal in both (None: one timeline). Rows without a time are dropped. The
        intervals are held in memory, the rows are not. See `join_within` for columns of the intervals.

        >>> import robodf as rd
        >>> df = rd.from_dict({"t": [1, 2, 3, 4, 5], "x": list("abcde")})
        >>> grasps = rd.from_dict({"start": [1, 4], "end": [2, 4]})
        >>> df.within(grasps, on="t", by=None).collect()["x"].to_list()
        ['a', 'b', 'd']
        """
        left, right, keys = self._beside(intervals, (on, on), by, "within")
        return self._then(Within(left, right, (on, on), keys))

    def join_within(self, intervals: Any, on: str = "log_time", by: Any = "recording", *, columns: Any = None,
                    suffix: str = "_right") -> PipelineDataFrame:  # fmt: skip
        """One row for each row and interval that its time lies in, with the columns of both.

        In the order of the rows, and for each row of the intervals. `columns` are those to take from the intervals
        (None: all but `by`); where this frame has one of that name, it gets `suffix`.

        >>> import robodf as rd
        >>> df = rd.from_dict({"t": [1, 2, 3], "x": list("abc")})
        >>> tasks = rd.from_dict({"start": [1, 2], "end": [2, 9], "task": ["pick", "place"]})
        >>> df.join_within(tasks, on="t", by=None, columns="task").collect().rows()
        [(1, 'a', 'pick'), (2, 'b', 'pick'), (2, 'b', 'place'), (3, 'c', 'place')]
        """
        left, right, keys = self._beside(intervals, (on, on), by, "join_within")
        added = _added(left.schema, right.schema, keys, columns, suffix, "join_within")
        return self._then(JoinOverlaps(left, right, (on, on), keys, added))

    def overlap_intervals(self, other: Any, by: Any = "recording", *, suffix: str = "_right") -> PipelineDataFrame:
        """One row for each pair of intervals, of this table and of `other`, that have a moment in common.

        The columns are those of both; where this table has one of that name, it gets `suffix`: `start_right`,
        `end_right`. In the order of this table, and for each interval of the other. See `intersect_intervals` for
        what they have in common.

        >>> import robodf as rd
        >>> a = rd.from_dict({"start": [0, 10], "end": [5, 20], "task": ["pick", "place"]})
        >>> b = rd.from_dict({"start": [4], "end": [12]})
        >>> a.overlap_intervals(b, by=None).collect().rows()
        [(0, 5, 'pick', 4, 12), (10, 20, 'place', 4, 12)]
        """
        left, right, keys = self._beside(other, BOUNDS, by, "overlap_intervals")
        added = _added(left.schema, right.schema, keys, None, suffix, "overlap_intervals")
        return self._then(JoinOverlaps(left, right, BOUNDS, keys, added))

    def intersect_intervals(self, other: Any, by: Any = "recording", *, suffix: str = "_right") -> PipelineDataFrame:
        """What the intervals of this table have in common with those of `other`: one interval for each pair.

        The columns are those of this table, and of `other` those that are not `by`, start, end or duration.

        >>> import robodf as rd
        >>> a = rd.from_dict({"start": [0, 10], "end": [5, 20], "task": ["pick", "place"]})
        >>> b = rd.from_dict({"start": [4], "end": [12]})
        >>> a.intersect_intervals(b, by=None).collect().rows()
        [(4, 5, 'pick'), (10, 12, 'place')]
        """
        left, right, keys = self._beside(other, BOUNDS, by, "intersect_intervals")
        taken = [n for n in right.schema if n not in (*BOUNDS, "duration", *keys)]
        added = _added(left.schema, right.schema, keys, taken, suffix, "intersect_intervals")
        dtype = left.schema["start"]
        if right.schema["start"] != dtype:
            right = WithColumns(right, _as_type(dtype, right.schema["start"]))
        theirs = tuple((f"__robodf_{name}", name) for name in BOUNDS)
        pairs = JoinOverlaps(left, right, BOUNDS, keys, (*added, *theirs))
        start, end = (Col(name) for name, _ in theirs)
        common: Named = (
            ("start", Call("pl.max_horizontal", (Col("start"), start))),
            ("end", Call("pl.min_horizontal", (Col("end"), end))),
        )
        shown = tuple((name, Col(name)) for name in (*left.schema, *(name for name, _ in added)))
        return self._then(Select(_measured(WithColumns(pairs, common)), shown))

    def subtract_intervals(self, other: Any, by: Any = "recording") -> PipelineDataFrame:
        """The parts of the intervals of this table that are in none of `other`, in the order of this table.

        A part has the columns of the interval that it is of; `start`, `end` and `duration` are its own. As intervals
        are closed, a part ends one unit of the times (1 ns of Datetime("ns")) before an interval of `other` starts, and
        starts one unit after it ends. Empty intervals give no row.

        >>> import robodf as rd
        >>> a = rd.from_dict({"start": [0], "end": [100]})
        >>> b = rd.from_dict({"start": [10, 15, 90], "end": [20, 30, 200]})
        >>> a.subtract_intervals(b, by=None).collect().rows()
        [(0, 9), (31, 89)]
        """
        left, right, keys = self._beside(other, BOUNDS, by, "subtract_intervals")
        return self._then(SubtractIntervals(left, MergeIntervals(right, keys, 1), BOUNDS, keys))

    def merge_intervals(self, gap: Any = None, by: Any = "recording") -> PipelineDataFrame:
        """The intervals of each group with those joined that overlap, touch, or are at most `gap` apart.

        The columns are `by`, start, end and duration, in the order of `by` and start; empty intervals are left out.
        Two touch where nothing fits between them: the second starts one unit of the times after the first ends. `gap`
        is a timedelta or a text such as "100ms"; a whole number for integer times.

        >>> import robodf as rd
        >>> a = rd.from_dict({"start": [0, 4, 20], "end": [5, 9, 30]})
        >>> a.merge_intervals(by=None).collect().rows()
        [(0, 9, 9), (20, 30, 10)]
        >>> a.merge_intervals(gap=11, by=None).collect().rows()
        [(0, 30, 30)]
        """
        plan, keys = self._table(by, "merge_intervals")
        units = 1 if gap is None else _not_negative(gap, plan.schema["start"], "gap", "start")
        return self._then(MergeIntervals(plan, keys, max(1, units)))

    def pad_intervals(self, before: Any = 0, after: Any = 0) -> PipelineDataFrame:
        """The intervals, started earlier by `before` and ended later by `after`; a column `duration` goes with them.

        Both are timedeltas or texts such as "500ms", or whole numbers for integer times. Negative ones make intervals
        shorter, and those of which nothing is left are dropped.

        >>> import robodf as rd
        >>> a = rd.from_dict({"start": [10, 50], "end": [20, 51]})
        >>> a.pad_intervals(before=5, after=-2).collect().rows()
        [(5, 18), (45, 49)]
        """
        plan, _ = self._table(None, "pad_intervals")
        dtype = plan.schema["start"]
        earlier, later = (
            0 if value == 0 and not isinstance(value, bool) else in_units(value, dtype, option, "start")
            for value, option in ((before, "before"), (after, "after"))
        )
        moved: Named = (
            ("start", shifted("start", -earlier, dtype)),
            ("end", shifted("end", later, dtype)),
        )
        padded = _measured(WithColumns(plan, moved))
        if earlier >= 0 and later >= 0:
            return self._then(padded)
        return self._then(Filter(padded, Call("__le__", (Col("start"), Col("end")))))

    def _table(self, by: Any, doing: str, plan: Plan | None = None) -> tuple[Plan, tuple[str, ...]]:
        """The plan of a table of intervals, checked, and its columns `by`."""
        plan = self._plan if plan is None else plan
        for name in BOUNDS:
            if name not in plan.schema:
                raise column_not_found(name, plan.schema, f"{doing} (a table of intervals has start and end)")
            check_time(name, plan.schema[name], doing)
        if plan.schema["start"] != plan.schema["end"]:
            raise SchemaError(
                f"{doing}: start is {plan.schema['start']}, but end is {plan.schema['end']}; cast one of them"
            )
        return plan, grouping(by, plan.schema, doing)

    def _beside(self, other: Any, bounds: tuple[str, str], by: Any, doing: str) -> _Plans:
        """The plans of the rows (or intervals) and of the other table, and the columns `by`, checked."""
        right, keys = self._table(by, f"{doing} (the intervals)", self._other(other, doing))  # type: ignore[attr-defined]
        left = self._plan
        if bounds == BOUNDS:
            self._table(by, doing)
        else:
            time_column(bounds[0], left.schema, doing)
            grouping(by, left.schema, doing)
        for name in keys:
            if left.schema[name] != right.schema[name]:
                raise SchemaError(
                    f"{doing}: {name!r} is {left.schema[name]} here and {right.schema[name]} in the intervals; "
                    "cast one of them"
                )
        here, there = left.schema[bounds[0]], right.schema["start"]
        if _kind(here) != _kind(there):
            raise SchemaError(f"{doing}: {bounds[0]!r} is {here}, but the intervals are {there}; cast one of them")
        return left, right, keys


def _kind(dtype: pl.DataType) -> object:
    """What two times must have in common to be compared; units may differ."""
    if dtype.is_integer():
        return "integer"
    return type(dtype), getattr(dtype, "time_zone", None) is None


def _added(left: Schema, right: Schema, by: tuple[str, ...], columns: Any, suffix: str, doing: str
           ) -> tuple[tuple[str, str], ...]:  # fmt: skip
    """(name, name in the right) of the columns that the intervals add."""
    refs = [n for n in right if n not in by] if columns is None else column_names([columns], right, doing)
    added = tuple((f"{ref}{suffix}" if ref in left else ref, ref) for ref in refs)
    names = [*left, *(name for name, _ in added)]
    for name in names:
        if names.count(name) > 1:
            raise QueryError(f"{doing} would give two columns {name!r}: give suffix=, or rename one of them")
    return added


def _as_type(dtype: pl.DataType, own: pl.DataType) -> Named:
    """Bounds in the type of others."""
    if not dtype.is_integer() and IN_UNIT[own.time_unit] < IN_UNIT[dtype.time_unit]:  # type: ignore[attr-defined]
        raise SchemaError(
            f"intersect_intervals: the intervals of the other table are {own}, finer than {dtype}: cast those of this "
            f'table, with_columns(rd.col("start", "end").dt.cast_time_unit("{own.time_unit}"))'  # type: ignore[attr-defined]
        )
    return tuple((n, Call("cast", (Col(n), dtype))) for n in BOUNDS)


def _measured(plan: Plan) -> Plan:
    """The table with its column `duration`, where there is one, made that of its bounds."""
    dtype = plan.schema["start"]
    if plan.schema.get("duration") != length_type(dtype):
        return plan
    bounds: list[Expr] = [Col("end"), Col("start")]
    if dtype.is_integer():
        bounds = [Call("cast", (e, length_type(dtype))) for e in bounds]
    return WithColumns(plan, (("duration", Call("__sub__", tuple(bounds))),))


def _not_negative(value: Any, dtype: pl.DataType, option: str, name: str) -> int:
    units = in_units(value, dtype, option, name)
    if units < 0:
        raise OptionError(f"{option}={value!r} must not be negative")
    return units


def grouping(by: Any, schema: Schema, doing: str) -> tuple[str, ...]:
    """The names of the columns that make groups; an error that says what to give where there is no recording."""
    if by is None:
        return ()
    if by == "recording" and by not in schema:
        raise column_not_found(
            "recording", schema, f"{doing}: by= is the column that tells recordings apart, or None for one timeline"
        )
    return column_names([by], schema, f"{doing} (by)")


def time_column(on: Any, schema: Schema, doing: str) -> pl.DataType:
    """The type of the time of rows, checked."""
    if not isinstance(on, str):
        raise QueryError(f"{doing}: on= is the name of a column, not {on!r}")
    if on not in schema:
        raise column_not_found(on, schema, f"{doing} (on)")
    check_time(on, schema[on], doing)
    return schema[on]
