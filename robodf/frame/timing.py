"""Time: ranges, clock corrections, regular windows, episodes; and splits by recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.errors import OptionError, QueryError, SchemaError
from robodf.frame.intervals import Intervals, _not_negative, grouping, time_column
from robodf.plan import stable_hash
from robodf.plan.base import Plan
from robodf.plan.comparison import IN_UNIT, instant
from robodf.plan.durations import in_units, period_of, point, shifted
from robodf.plan.expr import Call, Col, Expr, Lit, conjunction, freeze
from robodf.plan.kernels import call
from robodf.plan.nodes.filter import Filter
from robodf.plan.nodes.project import WithColumns
from robodf.plan.nodes.segment import Segments, WithSegment
from robodf.plan.nodes.shift import ShiftTimes
from robodf.plan.nodes.sort import Sort
from robodf.plan.resolve import column_names, resolve_predicate
from robodf.plan.trace import Traced, trace

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame

_DAY = 86_400 * 10**9
_STREAM = "__robodf_stream"


class Timing(Intervals):
    """Methods on the time of rows."""

    def time_range(self, start: Any = None, end: Any = None, on: str = "log_time") -> PipelineDataFrame:
        """The rows with start <= time < end; None is open. Rows without a time are dropped.

        Both are a datetime, a date, an ISO text or an integer of nanoseconds since 1970; without a zone they are UTC. A
        column of integers is compared with integers. It is a filter: logs are read in that range only.

        >>> import robodf as rd
        >>> from datetime import datetime
        >>> df = rd.from_dict({"log_time": [datetime(2026, 1, 1, 9), datetime(2026, 1, 1, 10)], "x": [1, 2]})
        >>> df.time_range("2026-01-01T09:30", "2026-01-02").collect()["x"].to_list()
        [2]
        """
        schema = self._plan.schema
        dtype = schema[on] if schema.get(on) == pl.Date else time_column(on, schema, "time_range")
        if isinstance(dtype, pl.Duration):
            raise SchemaError(f"time_range: {on!r} is a length of time, {dtype}: filter it, rd.col({on!r}) < ...")
        parts = [
            Call(op, (Col(on), _bound(value, dtype, option, on)))
            for op, value, option in (("__ge__", start, "start"), ("__lt__", end, "end"))
            if value is not None
        ]
        if not parts:
            raise OptionError("time_range needs start=, end= or both")
        return self._then(Filter(self._plan, conjunction(parts)))

    def shift_time(self, by: Any, on: str = "log_time", *, key: str = "recording") -> PipelineDataFrame:
        """The column `on` with `by` added: the correction of a clock, or of a known latency.

        `by` is a timedelta or a text such as "-12ms" (for integer times a whole number), or a dict of one for each
        value of the column `key`; rows of other values stay as they are. A filter on the shifted times still reaches
        the log: it is shifted back.

        >>> import robodf as rd
        >>> df = rd.from_dict({"t": [10, 20, 30], "recording": ["a", "b", "b"]})
        >>> df.shift_time(-5, on="t").collect()["t"].to_list()
        [5, 15, 25]
        >>> df.shift_time({"b": 100}, on="t").collect()["t"].to_list()
        [10, 120, 130]
        """
        schema = self._plan.schema
        dtype = time_column(on, schema, "shift_time")
        if not isinstance(by, Mapping):
            return self._then(WithColumns(self._plan, ((on, shifted(on, in_units(by, dtype, "by", on), dtype)),)))
        (name,) = column_names([key], schema, "shift_time (key)")
        table = {value: in_units(offset, dtype, f"by[{value!r}]", on) for value, offset in by.items()}
        if not table:
            return self._then(self._plan)
        try:
            pl.Series(list(table), dtype=schema[name])
        except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
            raise SchemaError(f"shift_time: {name!r} is {schema[name]}; the keys {list(table)!r} are not") from error
        return self._then(ShiftTimes(self._plan, on, name, tuple(table.items())))

    def resample(self, every: Any, on: str = "log_time", by: Any = None, agg: Any = None, *, interpolation: Any = None,
                 tolerance: Any = None, label: str = "left", closed: str = "left") -> PipelineDataFrame:  # fmt: skip
        """Rows at a regular rate: `every` is a timedelta, a text such as "20ms", or a rate such as "50hz".

        With `agg`, one row for each window of that length that holds rows; windows start at whole multiples of `every`
        since 1970 (of 0 for integer times, where `every` is a whole number). `agg` is the name of a function for all
        columns of numbers ("mean", "last", "max", ...), a dict of columns and functions or expressions, or a list of
        expressions. `closed` says which bounds belong to a window, and `label` which bound is its time: left or right.
        A rate is rounded to the nearest unit of the times.

        With `interpolation` instead, the values at the multiples of `every`, by one of the methods of `rd.align`:
        previous, next, nearest, linear, slerp or none. Samples farther from a tick than `tolerance` do not count, and
        a tick for which none counts is left out.

        Give `by="recording"` where there are several. Rows need not be sorted, and those without a time are dropped.
        The answer is in the order of `by` and time.

        >>> import robodf as rd
        >>> df = rd.from_dict({"t": [7, 0, 3, 12], "x": [4.0, 1.0, 2.0, 8.0]})
        >>> df.resample(5, on="t", agg="mean").collect().rows()
        [(0, 1.5), (5, 4.0), (10, 8.0)]
        >>> df.resample(5, on="t", agg={"x": "max", "n": rd.len()}).collect().rows()
        [(0, 2.0, 2), (5, 4.0, 1), (10, 8.0, 1)]
        >>> df.resample(5, on="t", interpolation="linear").collect().rows()
        [(0, 1.0), (5, 3.0), (10, 6.4)]
        """
        if (agg is None) == (interpolation is None):
            raise OptionError('resample needs agg= (such as "mean") or interpolation= (such as "linear"), one of them')
        if agg is not None and tolerance is not None:
            raise OptionError("resample: tolerance= is for interpolation=; a window has all rows that lie in it")
        schema = self._plan.schema
        keys = grouping(by, schema, "resample")
        dtype = time_column(on, schema, "resample")
        if interpolation is not None:
            return _at_ticks(self, every, on, keys, interpolation, tolerance)
        if isinstance(dtype, pl.Duration):
            raise SchemaError(f"resample: {on!r} is a length of time, {dtype}; cast it to pl.Int64 or add it to a date")
        order = (*keys, on)
        there = Filter(self._plan, Call("is_not_null", (Col(on),)))
        windows = self._then(_in_order(there, order)).group_by_dynamic(
            on, every=_window(every, dtype, on), closed=closed, label=label, group_by=list(keys) or None
        )
        made = windows.agg(*_aggregations(agg, schema, order))
        # Polars gives the groups in any order.
        return self._then(_in_order(made._plan, order)) if keys else made

    def segment(self, when: Any = None, gap: Any = None, min_duration: Any = None, on: str = "log_time",
                by: Any = "recording", *, at: Any = None) -> PipelineDataFrame:  # fmt: skip
        """A table of episodes: one row for each run of rows, in time, for which `when` is true or that no gap cuts.

        `when` is a condition, a lambda of a row, or the name of a boolean column; null is false. With `gap`, a run is
        cut where a row is more than that later than the one before; with `at`, a condition as `when` is, before each
        row for which it is true, such as the first frame of a scene. Runs shorter than `min_duration` are left out.
        Lengths are timedeltas or texts such as "1.5s", and whole numbers for integer times. `by` are the columns whose
        values are segmented apart (None: one timeline). Rows need not be sorted, ties keep their order, and rows
        without a time are left out.

        The columns are `by`, then segment (from 0 for each value of `by`), start and end (the times of the first and
        the last row), duration (end - start) and rows; in the order of `by` and start. Such tables are what `within`,
        `join_within` and `intersect_intervals` take.

        >>> import robodf as rd
        >>> df = rd.from_dict({"t": [0, 1, 2, 3, 9, 10], "speed": [0.0, 0.4, 0.5, 0.0, 0.3, 0.2]})
        >>> df.segment(when=lambda x: x["speed"] > 0.1, on="t", by=None).collect().rows()
        [(0, 1, 2, 1, 2), (1, 9, 10, 1, 2)]
        >>> df.segment(gap=5, on="t", by=None).collect().rows()
        [(0, 0, 3, 3, 4), (1, 9, 10, 1, 2)]
        >>> df.segment(at=lambda x: x["speed"] >= 0.5, on="t", by=None).collect()["start"].to_list()
        [0, 2]
        """
        keys, condition, cut, least, before = self._segmented(when, gap, min_duration, at, on, by, "segment")
        for name in keys:
            if name in ("segment", "start", "end", "duration", "rows"):
                raise QueryError(f"segment gives a column {name!r}: rename the one of by=")
        return self._then(Segments(self._plan, keys, on, condition, cut, least, before))

    def with_segment(self, when: Any = None, gap: Any = None, min_duration: Any = None, on: str = "log_time",
                     by: Any = "recording", *, at: Any = None, name: str = "segment") -> PipelineDataFrame:  # fmt: skip
        """All rows, in their order, with the number of the episode that they are in as a column; null outside of all.

        The arguments and the numbers are those of `segment`. Rows without a time are in none.

        >>> import robodf as rd
        >>> df = rd.from_dict({"t": [0, 1, 2, 9], "on": [False, True, True, True]})
        >>> df.with_segment(when="on", gap=5, on="t", by=None).collect()["segment"].to_list()
        [None, 0, 0, 1]
        """
        keys, condition, cut, least, before = self._segmented(when, gap, min_duration, at, on, by, "with_segment")
        if name in self._plan.schema:
            raise QueryError(f"with_segment: there is a column {name!r} already; give name=")
        return self._then(WithSegment(self._plan, keys, on, condition, cut, least, before, name))

    def _segmented(self, when: Any, gap: Any, min_duration: Any, at: Any, on: str, by: Any, doing: str
                   ) -> tuple[tuple[str, ...], Expr | None, int | None, int | None, Expr | None]:  # fmt: skip
        schema = self._plan.schema
        if when is None and gap is None and at is None:
            raise OptionError(f'{doing} needs when= or at= (conditions), gap= (such as "2s"), or several of them')
        keys = grouping(by, schema, doing)
        dtype = time_column(on, schema, doing)
        if on in keys:
            raise QueryError(f"{doing}: {on!r} is the time, so it cannot be in by=")
        cut = None if gap is None else _not_negative(gap, dtype, "gap", on)
        least = None if min_duration is None else _not_negative(min_duration, dtype, "min_duration", on)
        where, before = (None if given is None else self._condition(given, doing) for given in (when, at))
        return keys, where, cut, least, before

    def _condition(self, when: Any, doing: str) -> Expr:
        schema = self._plan.schema
        if callable(when) and not isinstance(when, (Expr, pl.Expr)) and not hasattr(when, "expr"):
            traced = trace(when, schema)
            if not isinstance(traced, Traced) or not isinstance(traced.result, Expr):
                why = getattr(traced, "reason", "it does not return a condition")
                raise QueryError(
                    f"{doing}: this function cannot be a condition, as {why}. Make it a column first, with map(...), "
                    "and give the name of the column"
                )
            when = traced.result
        if isinstance(when, bool):
            raise QueryError(f"{doing}: when= and at= are conditions on columns, not {when!r}")
        return resolve_predicate(self._own(when), schema, doing)  # type: ignore[attr-defined]

    def split(self, fractions: Mapping[str, float] | Sequence[float], by: Any = "recording", seed: int = 0) -> Any:
        """Parts by key, such as train and test by recording: a dict of frames for a dict, a tuple for a list.

        All rows of a key are in one part. Which one is a function of the key and the seed alone (a hash): the same on
        every machine, whatever else is in the data, so that new recordings move no old one. The fractions, which must
        add up to 1, are of the keys, on average: few keys do not divide evenly. `by` is a column or several, of
        integers, texts, truth values, times or bytes; null is a key.

        >>> import robodf as rd
        >>> df = rd.from_dict({"recording": [f"run_{i // 10}" for i in range(1000)]})
        >>> parts = df.split({"train": 0.8, "test": 0.2})
        >>> {name: len(part) for name, part in parts.items()}
        {'train': 850, 'test': 150}
        """
        named = isinstance(fractions, Mapping)
        if not named and (isinstance(fractions, (str, bytes)) or not isinstance(fractions, Sequence)):
            raise OptionError(f'split takes {{"train": 0.8, "test": 0.2}} or [0.8, 0.2], not {fractions!r}')
        cuts = _cuts(list(fractions.values()) if isinstance(fractions, Mapping) else list(fractions))
        if isinstance(seed, bool) or not isinstance(seed, int) or abs(seed) >> 63:
            raise OptionError(f"split: seed is a whole number of 64 bits, not {seed!r}")
        keys = grouping(by, self._plan.schema, "split")
        if not keys:
            raise OptionError("split needs by=: the columns whose equal rows stay together")
        for name in keys:
            dtype = self._plan.schema[name]
            if not stable_hash.is_hashable(dtype):
                raise SchemaError(f"split: the key {name!r} is {dtype}; cast it to an integer or a text")
        drawn = call(stable_hash.NAME, *map(Col, keys), seed=seed)
        parts = []
        for low, high in pairwise(cuts):
            bounds = [("__ge__", low)] * (low > 0) + [("__lt__", high)] * (high < _ALL)
            inside = [Call(op, (drawn, Lit(cut, pl.UInt64()))) for op, cut in bounds]
            parts.append(self._then(Filter(self._plan, conjunction(inside)) if inside else self._plan))
        return dict(zip(fractions, parts)) if named else tuple(parts)


_ALL = 1 << 64


def _cuts(fractions: list[Any]) -> list[int]:
    """Where the parts begin and end among the numbers of 64 bits."""
    for f in fractions:
        if isinstance(f, bool) or not isinstance(f, (int, float)) or not 0 < f <= 1:
            raise OptionError(f"split: a fraction is a number over 0 and at most 1, not {f!r}")
    # Exact sums: the order of floating additions must not move a key to another part.
    total = sum(map(Fraction, fractions), Fraction(0))
    if abs(total - 1) > Fraction(1, 10**9):
        raise OptionError(
            f"split: the fractions add up to {float(total):.6g}, not to 1: name what is left, or scale them"
        )
    cuts, reached = [0], Fraction(0)
    for f in fractions[:-1]:
        reached += Fraction(f)
        cuts.append(min(round(reached * _ALL), _ALL - 1))
    return [*cuts, _ALL]


def _bound(value: Any, dtype: pl.DataType, option: str, on: str) -> Lit:
    """A bound of a time range as a constant of the column's type; times < it and >= it are so exactly."""
    if dtype.is_integer():
        return Lit(in_units(value, dtype, option, on))
    if isinstance(value, timedelta):
        raise OptionError(f"time_range: {option} is a point in time, not a length: add it to one")
    nanoseconds = instant(value, option)
    assert nanoseconds is not None
    if dtype == pl.Date:
        days = -(-nanoseconds // _DAY)
        return Lit(date(1970, 1, 1) + timedelta(days=days))
    return point(nanoseconds, dtype)


def _in_order(plan: Plan, names: Sequence[str]) -> Plan:
    """The rows by these columns, nulls first."""
    return Sort(plan, tuple(map(Col, names)), (False,) * len(names), (False,) * len(names))


def _window(every: Any, dtype: pl.DataType, on: str) -> str:
    """The length of a window as Polars takes it."""
    if dtype.is_integer():
        units = in_units(every, dtype, "every", on)
        if units <= 0:
            raise OptionError(f"every={every!r} must be more than nothing")
        return f"{units}i"
    unit: str = dtype.time_unit  # type: ignore[attr-defined]
    if isinstance(every, str) and every.strip().lower().endswith("hz"):
        units = round(Fraction(period_of(every, "every"), IN_UNIT[unit]))
    else:
        _ = period_of(every, "every")
        units = in_units(every, dtype, "every", on)
    if units <= 0:
        raise OptionError(f"every={every!r} is shorter than the {unit} that {on!r} counts")
    return f"{units}{unit}"


def _aggregations(agg: Any, schema: Mapping[str, pl.DataType], keys: Sequence[str]) -> list[Any]:
    """What `agg` says, as `group_by(...).agg` takes it."""
    if isinstance(agg, str):
        numbers = [n for n, dtype in schema.items() if n not in keys and (dtype.is_numeric() or dtype == pl.Boolean)]
        if not numbers:
            raise QueryError(f"resample: there is no column of numbers to take the {agg} of; give agg={{...}}")
        return [dict.fromkeys(numbers, agg)]
    if isinstance(agg, Mapping):
        items: list[Any] = []
        for name, how in agg.items():
            is_name = isinstance(how, str) or (isinstance(how, (list, tuple)) and all(isinstance(h, str) for h in how))
            items.append({name: how} if is_name else Call("alias", (freeze(how), name)))
        return items
    return list(agg) if isinstance(agg, (list, tuple)) else [agg]


def _at_ticks(frame: Any, every: Any, on: str, by: tuple[str, ...], interpolation: Any, tolerance: Any
              ) -> PipelineDataFrame:  # fmt: skip
    from robodf.frame.aligning import align

    aligned = align(
        {_STREAM: frame}, every, on=on, by=list(by) or None, method=interpolation, tolerance=tolerance, prefix=""
    )
    return aligned.drop(f"{_STREAM}.age")
