"""`rd.align`: several streams on one clock."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.align.way import METHODS, Way
from robodf.errors import OptionError, QueryError, SchemaError, column_not_found, hint, listing
from robodf.frame.making import as_frame
from robodf.plan.base import Plan
from robodf.plan.bounds import UNKNOWN
from robodf.plan.comparison import instant
from robodf.plan.durations import in_units, nanoseconds_of
from robodf.plan.expr import Call, Col, Expr
from robodf.plan.nodes.align import Align, constant
from robodf.plan.nodes.filter import Filter
from robodf.plan.nodes.project import Select

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame


def align(streams: Mapping[str, Any], clock: Any, *, on: str = "log_time", by: Any = "recording",
          method: Any = "previous", tolerance: Any = None, prefix: Any = None, start: Any = None,
          end: Any = None) -> PipelineDataFrame:  # fmt: skip
    """One row for each time of a clock, with the samples that several streams have then.

    `streams` are frames by name. `clock` is the name of one of them (its rows are the times), a rate such as "50hz", a
    period such as "20ms" (for integer times a number in their unit), or another frame with the times (its other
    columns are kept). `on` is the column of times in every frame: Datetime, Duration or integer, of one type. Rows
    match only where they are equal in `by`, a column or a list of columns; null equals null; `by=None` is for frames of
    one recording.

    `method`, `tolerance` and `prefix` hold for all streams, or are dicts by stream. The methods:

    - previous, next: the last sample at or before the clock time, the first at or after it; nearest: the nearer of the
      two, the previous one where they are equally far; none: a sample of that very time. Of several samples with one
      time `next` takes the first in row order, the others the last.
    - linear: between the previous and the next sample. Floats keep their type, integers become Float64; lists and
      arrays of numbers go element by element (null where the two lengths differ), structs field by field. Other
      columns (texts, booleans, bytes, times) have the previous sample. A column is null where it is in one of the two.
    - slerp: as linear, but quaternions (structs of x, y, z and w, lists and arrays of four numbers in this order) go
      along the shorter great arc and come out at length 1 (Shoemake 1985); null where one is zero or not finite.

    A sample farther away than `tolerance` (text such as "20ms", a timedelta, or an integer in the unit of `on`) does
    not match; for linear and slerp neither of the two may be. Where nothing matches the columns are null. Samples
    without a time match nothing.

    The columns are those of `by`, `on`, the others of a clock frame, then for each stream its own with `prefix`
    ("<stream>." by default) in front, and `<stream>.age`: clock time less sample time (of the nearer of two), a
    Duration or for integer times an integer. A stream that is the clock has its own rows as they are, at age 0.

    Rows: all rows of a clock that is a stream or a frame, in its order. A rate has its ticks at the multiples of its
    period since 1970, in order of `by` and time: those at which at least one stream has a match; and where a stream
    without tolerance would match forever, only from the first to the last sample of the group. `start` (inclusive) and
    `end` (exclusive) bound the clock: a datetime, a date, ISO text or an integer of ns; for integer times an integer.

    Filters on the times go down to the streams. Give tolerances: then only that part of a log is read.

    >>> import robodf as rd
    >>> cam = rd.from_dict({"t": [10, 20, 30], "frame": [0, 1, 2]})
    >>> imu = rd.from_dict({"t": [5, 15, 25], "gyro": [0.0, 1.0, 3.0]})
    >>> rd.align({"cam": cam, "imu": imu}, "cam", on="t", by=None, method="linear", tolerance=5).collect().rows()
    [(10, 0, 0, 0.5, 5), (20, 1, 0, 2.0, 5), (30, 2, 0, None, None)]
    """
    frames = _frames(streams)
    keys = _keys(by, on)
    dtype = _check_columns(frames, on, keys)
    ways = _ways(list(frames), dtype, on, method, tolerance, prefix)
    plans = {name: frame._plan for name, frame in frames.items()}
    if isinstance(clock, str) and clock in frames:
        plan = _on_stream(clock, plans, ways, on, keys, start, end)
    elif clock is None or isinstance(clock, (str, int)):
        period = _period(clock, dtype, on, list(frames))
        first, last = _ends(start, end, dtype, on)
        known = tuple(plans.values())
        plan = Align(None, known, ways, on, keys, period, first, last, str(clock), (UNKNOWN,) * len(ways))
        _check_names(keys, on, (), plans, ways)
    else:
        times = as_frame(clock)
        _check_columns({**frames, "clock=": times}, on, keys)
        below = _between(times._plan, on, dtype, *_ends(start, end, dtype, on))
        _check_names(keys, on, times.columns, plans, ways)
        plan = _over(below, plans, ways, on, keys, "frame")
    return next(iter(frames.values()))._then(plan)


def _frames(streams: Any) -> dict[str, PipelineDataFrame]:
    if not isinstance(streams, Mapping) or not streams:
        raise OptionError("align: streams is a dict of frames by name, such as {'camera': camera, 'imu': imu}")
    for name in streams:
        if not isinstance(name, str) or not name:
            raise OptionError(f"align: the name of a stream is a text, not {name!r}")
    return {name: as_frame(frame) for name, frame in streams.items()}


def _keys(by: Any, on: Any) -> tuple[str, ...]:
    if not isinstance(on, str):
        raise OptionError(f"align: on is the name of the column of times, not {on!r}")
    keys = () if by is None else tuple(by) if isinstance(by, (list, tuple)) else (by,)
    if not all(isinstance(key, str) for key in keys):
        raise OptionError(f"align: by is a column, a list of columns or None, not {by!r}")
    if on in keys or len(set(keys)) < len(keys):
        raise OptionError(f"align: by={by!r} names a column twice, or that of the times ({on!r})")
    return keys


def _check_columns(frames: Mapping[str, Any], on: str, keys: tuple[str, ...]) -> Any:
    """The type of `on`; an error where a frame lacks a column or has it in another type than the one before."""
    found: dict[str, tuple[str, Any]] = {}
    for stream, frame in frames.items():
        schema = frame.schema
        if on not in schema:
            raise column_not_found(on, schema, f"align: stream {stream!r}; on= names the column of times")
        for key in keys:
            if key not in schema:
                raise QueryError(
                    f"align: the stream {stream!r} has no column {key!r} to match rows by: name another in by=, or "
                    f"pass by=None where all rows are of one recording. Columns: {listing(schema)}."
                )
            if schema[key].is_nested() or schema[key] == pl.Object:
                raise SchemaError(f"align: by={key!r} is {schema[key]} in {stream!r}; match by a plain column")
        for name in (on, *keys):
            first, dtype = found.setdefault(name, (stream, schema[name]))
            if dtype != schema[name]:
                raise SchemaError(
                    f"align: {name!r} is {dtype} in {first!r} and {schema[name]} in {stream!r}; cast one of them, as "
                    f"in with_columns(rd.col({name!r}).cast(...))"
                )
    dtype = found[on][1]
    if not (isinstance(dtype, (pl.Datetime, pl.Duration)) or dtype in _INTEGERS):
        raise SchemaError(
            f"align: on={on!r} is {dtype}; times are Datetime, Duration, or integers that fit into Int64: cast it"
        )
    return dtype


_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)


def _ways(names: list[str], dtype: Any, on: str, method: Any, tolerance: Any, prefix: Any) -> tuple[Way, ...]:
    methods = _each(names, method, "method", "previous")
    tolerances, prefixes = _each(names, tolerance, "tolerance", None), _each(names, prefix, "prefix", None)
    ways = []
    for name in names:
        how, front = methods[name], prefixes[name]
        if how not in METHODS:
            close = hint(how, METHODS) if isinstance(how, str) else ". A dict by stream gives each its own."
            raise OptionError(f"align: method is one of {', '.join(METHODS)}, not {how!r}{close}")
        if not (front is None or isinstance(front, str)):
            raise OptionError(f"align: prefix is a text, or a dict of texts by stream, not {front!r}")
        within = _tolerance(tolerances[name], dtype, on)
        ways.append(Way(name, how, within, f"{name}." if front is None else front))
    return tuple(ways)


def _each(names: list[str], value: Any, option: str, default: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return dict.fromkeys(names, value)
    for name in value:
        if name not in names:
            raise OptionError(f"align: {option} is given for {name!r}, which is no stream{hint(str(name), names)}")
    return {name: value.get(name, default) for name in names}


def _tolerance(value: Any, dtype: Any, on: str) -> int | None:
    if value is None:
        return None
    whole = isinstance(value, int) and not isinstance(value, bool)
    found = int(value) if whole else in_units(value, dtype, "align: tolerance", on)
    if not 0 <= found < 1 << 63:
        raise OptionError(f"align: tolerance={value!r} must be at least zero, and less than 2**63 units of {on!r}")
    return found


_RATE = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*(hz|khz)\s*", re.IGNORECASE)
_UNITS = {"ns": 10**9, "us": 10**6, "ms": 10**3}


def _period(clock: Any, dtype: Any, on: str, names: list[str]) -> tuple[int, int]:
    """The period of a rate as a fraction of units of `on`."""
    if dtype.is_integer():
        if not isinstance(clock, int) or isinstance(clock, bool):
            raise OptionError(
                f"align: clock={clock!r} is no stream{hint(str(clock), names)} A rate or a period in seconds needs "
                f"times of a Datetime type, and {on!r} is {dtype}: cast it, or give the period as a number in its unit"
            )
        if dtype != pl.Int64:
            raise SchemaError(f"align: {on!r} is {dtype}; the ticks of a rate are Int64: cast it")
        period = Fraction(clock)
    else:
        if not isinstance(clock, str):
            raise OptionError(f"align: clock is the name of a stream, a rate such as '50hz', or a frame, not {clock!r}")
        rate = _RATE.fullmatch(clock)
        if rate is not None:
            each = Fraction(rate[1]) * (1000 if rate[2].lower() == "khz" else 1)
            period = Fraction(_UNITS[dtype.time_unit]) / each if each else Fraction(0)
        else:
            period = _length(clock, names) * Fraction(_UNITS[dtype.time_unit], 10**9)
    if not 1 <= period < 1 << 60 or period.denominator >= 1 << 31:
        raise OptionError(
            f"align: clock={clock!r}: a period is at least one unit of {on!r} ({dtype}), and a rate has few digits"
        )
    return period.numerator, period.denominator


def _length(clock: str, names: list[str]) -> int:
    try:
        return nanoseconds_of(clock, "align: clock")
    except OptionError as error:
        raise OptionError(
            f"align: clock={clock!r} is neither a stream ({listing(names)}) nor a rate such as '50hz' nor a period "
            f"such as '20ms'{hint(clock, names)}"
        ) from error


def _ends(start: Any, end: Any, dtype: Any, on: str) -> tuple[int | None, int | None]:
    """The first and the last unit of `on` (inclusive) that the clock may have."""
    found = []
    for value, option in ((start, "align: start"), (end, "align: end")):
        if value is None or not isinstance(dtype, pl.Datetime):
            found.append(None if value is None else in_units(value, dtype, option, on))
        else:
            at = instant(value, option)
            assert at is not None
            found.append(-(-at // (10**9 // _UNITS[dtype.time_unit])))  # a unit is in where its first moment is
    return found[0], None if found[1] is None else found[1] - 1


def _between(plan: Plan, on: str, dtype: Any, first: int | None, last: int | None) -> Plan:
    for op, at in (("__ge__", first), ("__le__", last)):
        if at is not None:
            at = max(-(1 << 63), min(at, (1 << 63) - 1))
            plan = Filter(plan, Call(op, (Col(on), constant(at, dtype))))
    return plan


def _on_stream(clock: str, plans: dict[str, Plan], ways: tuple[Way, ...], on: str, keys: tuple[str, ...], start: Any,
               end: Any) -> Plan:  # fmt: skip
    """A stream as the clock: its columns are named as those of any stream, and its age is nothing."""
    _check_names(keys, on, (), plans, ways)
    own = plans[clock]
    way = next(w for w in ways if w.name == clock)
    first, last = _ends(start, end, own.schema[on], on)
    below = _between(own, on, own.schema[on], first, last)
    age: Expr = Call("__sub__", (Col(on), Col(on)))
    if own.schema[on].is_integer():
        age = Call("cast", (age, pl.Int64()), (("strict", False),))
    named = [(way.prefix + name, Col(name)) for name in own.schema if name not in (*keys, on)]
    renamed = Select(below, (*((key, Col(key)) for key in (*keys, on)), *named, (way.age, age)))
    others = tuple(w for w in ways if w is not way)
    plan = _over(renamed, {w.name: plans[w.name] for w in others}, others, on, keys, clock) if others else renamed
    order = [*keys, on]
    for w in ways:
        order += [w.prefix + name for name in plans[w.name].schema if name not in (*keys, on)] + [w.age]
    return plan if order == list(plan.schema) else Select(plan, tuple((name, Col(name)) for name in order))


def _over(
    clock: Plan, streams: dict[str, Plan], ways: tuple[Way, ...], on: str, keys: tuple[str, ...], said: str
) -> Plan:
    return Align(clock, tuple(streams.values()), ways, on, keys, None, None, None, said, (UNKNOWN,) * len(ways))


def _check_names(keys: tuple[str, ...], on: str, columns: Any, plans: dict[str, Plan], ways: tuple[Way, ...]) -> None:
    """An error where two columns of the result would have one name."""
    taken = dict.fromkeys([*keys, on, *columns], "the clock")
    for way in ways:
        made = [way.prefix + name for name in plans[way.name].schema if name not in (*keys, on)]
        for name in (*made, way.age):
            if name in taken:
                raise QueryError(
                    f"align: two columns would be called {name!r}, one of {taken[name]} and one of {way.name!r}: give "
                    f"another prefix=, as in prefix={{{way.name!r}: '{way.name}_'}}, or rename or drop the column"
                )
            taken[name] = repr(way.name)
