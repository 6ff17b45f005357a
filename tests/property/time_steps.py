"""The operators on time in random plans: episodes, intervals, clocks, windows, splits, alignment.

Where Polars has the same in a few words the hand-written side is that. Where it has not, it is the node as it was
written (`lower`) over the hand-written input: such a step checks what optimizers make of the node, and the tests beside
this file check the node itself against loops in plain Python.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import polars as pl
from plans import T0, Draw, NotHere, State, of, predicate

import robodf as rd
from robodf.errors import QueryError
from robodf.plan import stable_hash
from robodf.plan.base import Plan
from robodf.plan.kernels import call

Step = Callable[..., State]


def as_written(frame: rd.PipelineDataFrame, *states: State) -> pl.LazyFrame:
    """The nodes of `frame` above those of the states, over what the states are when written by hand."""
    done = {id(s.frame._plan): s.lazy for s in states}

    def lowered(plan: Plan) -> pl.LazyFrame:
        if id(plan) not in done:
            done[id(plan)] = plan.lower(*map(lowered, plan.inputs()))
        return done[id(plan)]

    return lowered(frame._plan)


# -- times, lengths and keys -----------------------------------------------------------------------------------


def is_clock(dtype: pl.DataType) -> bool:
    return dtype.is_integer() or isinstance(dtype, (pl.Datetime, pl.Duration))


def clocks(s: State, *, signed: bool = False) -> list[str]:
    found = [n for n, dtype in s.schema.items() if is_clock(dtype) and dtype != pl.UInt64]
    return [n for n in found if not (signed and s.schema[n].is_unsigned_integer())]


def keys(d: Draw, s: State, *besides: str) -> list[str]:
    """Columns to group by: seldom floats, as NaN and -0.0 are then keys."""
    plain = [n for n, t in s.schema.items() if not t.is_nested() and n not in besides]
    floats = d.chance(10)
    return d.some([n for n in plain if floats or not s.schema[n].is_float()], 0, 2)


def length(dtype: pl.DataType, n: int) -> Any:
    """`n` seconds, or units of integers."""
    return n if dtype.is_integer() else f"{n}s"


def later(name: str, dtype: pl.DataType, n: int) -> pl.Expr:
    if dtype.is_integer():
        return (pl.col(name).cast(pl.Int64) + n).cast(dtype)
    unit = dtype.time_unit  # type: ignore[attr-defined]
    return pl.col(name) + pl.lit(timedelta(seconds=n), dtype=pl.Duration(unit))


def about(d: Draw, s: State, name: str) -> tuple[str, Callable[[Any], Any]]:
    """A condition on a column, one that many rows satisfy; a time is compared with one in its own units."""
    dtype = s.schema[name]
    op = d.pick(["__lt__", "__le__", "__gt__", "__ge__", "__ge__", "__eq__", "__ne__", "__ne__"])
    value: Any = d.integer(0, 7)
    if dtype.is_nested() or dtype == pl.Null or d.chance(10):
        return f"{name}.is_not_null", lambda m: m.col(name).is_not_null()
    if dtype == pl.Boolean:
        return f"~{name}", lambda m: ~m.col(name)
    if dtype == pl.String:
        value = d.pick(["a", "b", "é"])
    elif isinstance(dtype, (pl.Datetime, pl.Duration)):
        value = timedelta(seconds=value)
        value = T0 + value if isinstance(dtype, pl.Datetime) else value
        return f"{name}.{op}({value})", lambda m: getattr(m.col(name), op)(m.lit(value, dtype=dtype))
    elif not dtype.is_numeric():
        raise NotHere
    return f"{name}.{op}({value!r})", lambda m: getattr(m.col(name), op)(value)


def condition(d: Draw, s: State) -> tuple[str, Callable[[Any], Any]]:
    return about(d, s, d.pick(s.schema)) if d.chance(50) else predicate(d, s, 1)


def then_some(d: Draw, s: State, focus: list[str]) -> State:
    """Filters, and fewer columns, above the operator: what it lets pass is the question."""
    for _ in range(d.pick([0, 1, 1, 2])):
        names = [n for n in focus if n in s.schema]
        try:
            text, make = about(d, s, d.pick(names)) if names and d.chance(80) else condition(d, s)
        except NotHere:
            continue
        s = s.then(f"filter({text})", s.frame.filter(make(rd)), s.lazy.filter(make(pl)))
    if d.chance(40):
        kept = d.some(s.schema, 1, max(1, len(s.schema) - 1))
        s = s.then(f"select({kept})", s.frame.select(*kept), s.lazy.select(kept))
    return s


def followed(step: Step) -> Step:
    def both(d: Draw, *states: State) -> State:
        made = step(d, *states)
        new = [n for n in made.schema if n not in states[0].schema]
        return then_some(d, made, [*made.focus, *(new if d.chance(50) or not made.focus else [])])

    both.__name__ = step.__name__
    return both


# -- one input -------------------------------------------------------------------------------------------------


def time_range(d: Draw, s: State) -> State:
    on = of(d, s.named("time", "int"))
    low, high = d.integer(0, 5), d.integer(1, 9)
    is_time = s.schema[on].is_temporal()
    start, end = (T0 + timedelta(seconds=n) if is_time else n for n in (low, high))
    which = d.integer(0, 2)
    given: dict[str, Any] = {"start": start, "end": end}
    given = given if which == 0 else {"start": start} if which == 1 else {"end": end}
    if is_time and d.chance(40):
        given = {k: v.isoformat() for k, v in given.items()}
    lazy = s.lazy
    lazy = lazy.filter(pl.col(on) >= start) if "start" in given else lazy
    lazy = lazy.filter(pl.col(on) < end) if "end" in given else lazy
    return s.then(f"time_range({given}, on={on})", s.frame.time_range(**given, on=on), lazy).on(on)


def shift_time(d: Draw, s: State) -> State:
    on = of(d, clocks(s, signed=True))
    dtype, n = s.schema[on], d.pick([0, 1, 2, -1, -3])
    return s.then(
        f"shift_time({n}, on={on})",
        s.frame.shift_time(length(dtype, n), on=on),
        s.lazy.with_columns(later(on, dtype, n)),
    ).on(on)


def shift_by_key(d: Draw, s: State) -> State:
    on = of(d, clocks(s, signed=True))
    key = of(d, s.named("int", "str", "bool"))
    dtype = s.schema[on]
    values = {pl.String: ["a", "b", "é", None], pl.Boolean: [True, False, None]}.get(
        s.schema[key].base_type(), [1, 2, 5, None]
    )
    offsets = {value: d.pick([0, 1, 2, -1, -3]) for value in d.some(values, 1, 3)}
    moved = pl.col(on)
    for value, n in offsets.items():
        same = pl.col(key).is_null() if value is None else pl.col(key).eq_missing(pl.lit(value))
        moved = pl.when(same).then(later(on, dtype, n)).otherwise(moved)
    given = {value: length(dtype, n) for value, n in offsets.items()}
    return s.then(
        f"shift_time({given}, on={on}, key={key})",
        s.frame.shift_time(given, on=on, key=key),
        s.lazy.with_columns(moved.alias(on)),
    ).on(on, key)


def _episode(d: Draw, s: State) -> tuple[str, dict[str, Any]]:
    on = of(d, clocks(s))
    dtype = s.schema[on]
    given: dict[str, Any] = {"on": on, "by": keys(d, s, on) or None}
    text = ""
    if d.chance(70):
        if not s.ordered:
            raise NotHere  # which of two rows at one time comes first would say where a run ends
        if d.chance(15) and s.named("int"):
            ref = of(d, s.named("int"))
            text, given["when"] = f"{ref} >= mean({ref})", rd.col(ref) >= rd.col(ref).mean()
        elif d.chance(30) and s.named("bool"):
            given["when"] = text = of(d, s.named("bool"))
        else:
            text, make = condition(d, s)
            given["when"] = make(rd)
    if not text or d.chance(40):
        given["gap"] = length(dtype, d.integer(0, 4))
    if d.chance(40):
        given["min_duration"] = length(dtype, d.integer(0, 3))
    return f"{ {**given, 'when': text} }", given


def segment(d: Draw, s: State) -> State:
    text, given = _episode(d, s)
    if {"segment", "start", "end", "duration", "rows"} & set(given["by"] or []):
        raise NotHere
    frame = s.frame.segment(**given)
    return s.then(f"segment({text})", frame, as_written(frame, s), True).on(*given["by"] or ["start"], "end")


def with_segment(d: Draw, s: State) -> State:
    text, given = _episode(d, s)
    name = d.pick(["segment", "z", "a.b"])
    if name in s.schema:
        raise NotHere
    frame = s.frame.with_segment(**given, name=name)
    made = s.then(f"with_segment({text}, name={name})", frame, as_written(frame, s))
    return made.on(name, given["on"], *given["by"] or [])


def resample(d: Draw, s: State) -> State:
    on = of(d, [n for n in clocks(s, signed=True) if not isinstance(s.schema[n], pl.Duration)])
    dtype, n = s.schema[on], d.pick([1, 2, 5])
    by = keys(d, s, on)
    options: dict[str, Any] = {"closed": d.pick(["left", "right"]), "label": d.pick(["left", "right"])}
    numbers = [c for c, t in s.schema.items() if c not in (*by, on) and (t.is_numeric() or t == pl.Boolean)]
    if not numbers:
        raise NotHere
    how = d.pick(["max", "min", "count", *(["last", "first"] if s.ordered else [])])
    if d.chance(50):
        agg, theirs = how, [getattr(pl.col(c), how)() for c in numbers]
    else:
        name = d.pick(numbers)
        if "n" in (name, on, *by):
            raise NotHere
        agg, theirs = {name: how, "n": rd.len()}, [getattr(pl.col(name), how)(), pl.len().alias("n")]
    # Windows at one time of several groups are in the order of the groups.
    windows = s.lazy.filter(pl.col(on).is_not_null()).sort(*by, on, maintain_order=True)
    windows = windows.group_by_dynamic(on, every=f"{n}i" if dtype.is_integer() else f"{n}s", group_by=by or None,
                                       **options)  # fmt: skip
    return s.then(
        f"resample({length(dtype, n)}, on={on}, by={by}, {how if isinstance(agg, str) else [*agg]}, {options})",
        s.frame.resample(length(dtype, n), on=on, by=by or None, agg=agg, **options),
        windows.agg(theirs).sort(*by, on, maintain_order=True),
        True,
    ).on(on, *by)


def resample_between(d: Draw, s: State) -> State:
    on = of(d, _rated(s))
    by = keys(d, s, on)
    dtype = s.schema[on]
    how = d.pick(["previous", "next", "nearest", "linear", "none"])
    tolerance = length(dtype, d.integer(0, 3)) if d.chance(50) else None
    if not s.ordered or len(s.schema) == 1 + len(by):
        raise NotHere
    try:
        frame = s.frame.resample(length(dtype, 2), on=on, by=by or None, interpolation=how, tolerance=tolerance)
    except QueryError as error:
        raise NotHere from error  # a column that is called as the age of the stream
    return s.then(f"resample(2, on={on}, by={by}, {how}, {tolerance})", frame, as_written(frame, s), True).on(on, *by)


def split(d: Draw, s: State) -> State:
    by = d.some([n for n, t in s.schema.items() if stable_hash.is_hashable(t)], 1, 2)
    if not by:
        raise NotHere
    part, seed = d.integer(0, 1), d.integer(0, 3)

    def drawn(packed: pl.Series) -> pl.Series:
        return stable_hash.stable_hash(*packed.struct.unnest().get_columns(), seed=seed)

    numbers = pl.struct(by).map_batches(drawn, return_dtype=pl.UInt64)
    cut = 1 << 63
    return s.then(
        f"split([0.5, 0.5], by={by}, seed={seed})[{part}]",
        s.frame.split([0.5, 0.5], by=by, seed=seed)[part],
        s.lazy.filter(numbers >= cut if part else numbers < cut),
    )


def kernels(d: Draw, s: State) -> State:
    """Expressions of functions that Polars lacks."""
    how = d.integer(0, 2)
    numbers = s.named("number")
    if how == 0:
        by = d.some([n for n, t in s.schema.items() if stable_hash.is_hashable(t)], 1, 2)
        if not by:
            raise NotHere
        text, made = f"stable_hash({by})", call(stable_hash.NAME, *by, seed=1)
    elif how == 1 and len(numbers) > 1:
        angles = [of(d, numbers) for _ in range(3)]
        text, made = f"quaternion({angles})", rd.ros.quaternion(*angles)
        if d.chance(50):
            text, made = f"rotation_matrix({text})", rd.ros.rotation_matrix(made)
        elif d.chance(50):
            text, made = f"euler({text}).yaw", rd.ros.euler(made).struct.field("yaw")
    else:
        name = of(d, s.named("list"))
        inner = s.schema[name].inner  # type: ignore[attr-defined]
        if not inner.is_numeric():
            raise NotHere
        text, made = f"covariance({name}, 1)", rd.ros.covariance(name, 1)
    frame = s.frame.with_columns(z=made)  # type: ignore[arg-type]
    s = s.then(f"with_columns(z={text})", frame, as_written(frame, s))
    if frame.schema["z"] == pl.UInt64 and d.chance(50):
        cut = 1 << 62
        s = s.then("filter(z < 2**62)", s.frame.filter(rd.col("z") < cut), s.lazy.filter(pl.col("z") < cut))
    return s


# -- tables of intervals ---------------------------------------------------------------------------------------


def intervals(d: Draw, s: State, like: pl.DataType | None = None) -> State:
    """The state with columns `start` and `end`, some of them empty intervals."""
    schema = s.schema
    fits = lambda t: like is None or _kind(t) == _kind(like)  # noqa: E731
    have = "start" in schema and "end" in schema and schema["start"] == schema["end"]
    if have and is_clock(schema["start"]) and fits(schema["start"]) and schema["start"] != pl.UInt64:
        return s
    on = of(d, [n for n in clocks(s, signed=True) if fits(schema[n])])
    dtype = schema[on]
    other = d.pick([n for n in clocks(s, signed=True) if schema[n] == dtype])
    n = d.pick([0, 1, 2, 4, -1])
    frame = s.frame.with_columns(start=rd.col(on), end=rd.col(other)).shift_time(length(dtype, n), on="end")
    lazy = s.lazy.with_columns(start=pl.col(on), end=later(other, dtype, n))
    return s.then(f"with_columns(start={on}, end={other} + {n})", frame, lazy)


def _kind(dtype: pl.DataType) -> Any:
    return "integer" if dtype.is_integer() else type(dtype)


def merge_intervals(d: Draw, s: State) -> State:
    s = intervals(d, s)
    by = keys(d, s, "start", "end", "duration")
    gap = length(s.schema["start"], d.integer(0, 4)) if d.chance(50) else None
    frame = s.frame.merge_intervals(gap, by=by or None)
    return s.then(f"merge_intervals({gap}, by={by})", frame, as_written(frame, s), True).on("start", *by)


def pad_intervals(d: Draw, s: State) -> State:
    s = intervals(d, s)
    dtype = s.schema["start"]
    if dtype.is_unsigned_integer():
        raise NotHere
    before, after = (d.pick([0, 1, 3, -1, -2]) for _ in "ab")
    frame = s.frame.pad_intervals(length(dtype, before), length(dtype, after))
    return s.then(f"pad_intervals({before}, {after})", frame, as_written(frame, s)).on("start", "end")


# -- two inputs ------------------------------------------------------------------------------------------------


def _in_both(d: Draw, a: State, b: State, *besides: str) -> list[str]:
    same = [n for n in keys(d, a, *besides) if b.schema.get(n) == a.schema[n]]
    return [n for n in same if n not in besides]


def _beside(d: Draw, a: State, b: State) -> tuple[str, State, list[str]]:
    on = of(d, clocks(a))
    b = intervals(d, b, a.schema[on])
    return on, b, _in_both(d, a, b)


def within(d: Draw, a: State, b: State) -> State:
    on, b, by = _beside(d, a, b)
    frame = a.frame.within(b.frame, on=on, by=by or None)
    return a.then(f"within([{'; '.join(b.steps)}], on={on}, by={by})", frame, as_written(frame, a, b)).on(on, *by)


def join_within(d: Draw, a: State, b: State) -> State:
    on, b, by = _beside(d, a, b)
    columns = d.some([n for n in b.schema if n not in by], 1, 3) if d.chance(40) else None
    suffix = d.pick(["_right", ".b"])
    try:
        frame = a.frame.join_within(b.frame, on=on, by=by or None, columns=columns, suffix=suffix)
    except QueryError as error:
        raise _taken(error) from error
    text = f"join_within([{'; '.join(b.steps)}], on={on}, by={by}, columns={columns}, suffix={suffix})"
    new = [n for n in frame.schema if n not in a.schema]
    return a.then(text, frame, as_written(frame, a, b), a.ordered and b.ordered).on(on, *by, *new)


def two_tables(d: Draw, a: State, b: State) -> State:
    a = intervals(d, a)
    b = intervals(d, b, a.schema["start"])
    by = _in_both(d, a, b, "start", "end", "duration")
    method = d.pick(["overlap_intervals", "intersect_intervals", "subtract_intervals"])
    if method != "overlap_intervals" and a.schema["start"] != b.schema["start"]:
        raise NotHere
    try:
        frame = getattr(a.frame, method)(b.frame, by=by or None)
    except QueryError as error:
        raise _taken(error) from error
    ordered = a.ordered and (b.ordered or method == "subtract_intervals")
    made = a.then(f"{method}([{'; '.join(b.steps)}], by={by})", frame, as_written(frame, a, b), ordered)
    return made.on("start", "end", *by)


def _taken(error: QueryError) -> Exception:
    return NotHere() if "two columns" in str(error) else error


# -- alignment -------------------------------------------------------------------------------------------------


def _rated(s: State) -> list[str]:
    """Columns that a rate can tick on."""
    return [n for n in clocks(s, signed=True) if not s.schema[n].is_integer() or s.schema[n] == pl.Int64]


def align(d: Draw, a: State, b: State) -> State:
    if not (a.ordered and b.ordered):
        raise NotHere  # of several samples at one time the order says which counts
    kind = d.pick(["stream", "frame", "rate"])
    on = of(d, [n for n in (_rated(a) if kind == "rate" else clocks(a)) if b.schema.get(n) == a.schema[n]])
    by = _in_both(d, a, b, on)
    dtype = a.schema[on]
    streams = {"a": a.frame, "b": b.frame}
    methods = {name: d.pick(["previous", "next", "nearest", "linear", "none"]) for name in streams}
    tolerance = {name: length(dtype, d.integer(0, 3)) if d.chance(60) else None for name in streams}
    clock: Any = d.pick("ab")
    if kind == "rate":
        clock = d.pick([1, 2, 3]) if dtype.is_integer() else d.pick(["1s", "2hz", "1500ms"])
    elif kind == "frame":
        clock = a.frame if d.chance(50) else b.frame
        if d.chance(50):  # a clock that is less than the streams
            text, make = condition(d, b)
            clock = b.frame.filter(make(rd))
        streams = {"b": streams["b"]} if d.chance(50) else streams
        methods, tolerance = ({name: table[name] for name in streams} for table in (methods, tolerance))
    given: dict[str, Any] = {"method": methods, "tolerance": tolerance}
    if d.chance(30):
        given["prefix"] = {"b": ""}
    if d.chance(30) and isinstance(dtype, pl.Datetime):
        given["start"] = T0 + timedelta(seconds=d.integer(0, 4))
    if d.chance(30) and isinstance(dtype, pl.Datetime):
        given["end"] = T0 + timedelta(seconds=d.integer(2, 9))
    try:
        frame = rd.align(streams, clock, on=on, by=by or None, **given)
    except QueryError as error:
        raise _taken(error) from error
    said = clock if isinstance(clock, (str, int)) else "a frame"
    text = f"align({[*streams]} of [{'; '.join(b.steps)}], {said}, on={on}, by={by}, {given})"
    return a.then(text, frame, as_written(frame, a, b), True).on(on, on, *by)


TIME_ONE = [followed(step) for step in (
    time_range, shift_time, shift_by_key, shift_by_key, segment, segment, with_segment, with_segment, resample,
    resample_between, split, kernels, merge_intervals, pad_intervals,
)]  # fmt: skip
TIME_TWO = [followed(step) for step in (
    within, join_within, join_within, two_tables, two_tables, align, align, align,
)]  # fmt: skip
