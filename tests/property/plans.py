"""Random plans: each step is applied to a robodf frame and, written out by hand, to a Polars LazyFrame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl

import robodf as rd
from robodf.io.source import Request, Source, Split, Support
from robodf.plan.base import lower_all
from robodf.plan.comparison import as_comparison
from robodf.plan.node import walk
from robodf.plan.nodes.scan import Scan
from robodf.plan.nodes.shared import Cached

T0 = datetime(2026, 1, 1)
NAN = float("nan")

# Floats are multiples of 1/4, so that sums are exact in any order; -0.0 and NaN are there on purpose.
TABLES: dict[str, pl.DataFrame] = {
    "runs": pl.DataFrame(
        {
            "k": [1, 2, 2, None, 3, 1, 5, 2],
            "i": [0, 1, 2, 2, 4, 7, 8, 11],
            "x": [0.5, -0.0, 0.0, NAN, None, 2.25, -1.5, 0.5],
            "s": ["a", "b", None, "a", "é", "", "b", "a"],
            "b": [True, None, False, True, True, False, None, True],
            "t": [T0 + timedelta(seconds=n) for n in (0, 1, 1, 3, 5, 6, 9, 9)],
            "l": [[1, 2], [], None, [3], [None], [4, 4], [5], [6, 7, 8]],
            "p": [
                {"u": 1, "v": "q"},
                {"u": 2, "v": None},
                None,
                {"u": None, "v": "r"},
                {"u": 1, "v": "q"},
                {"u": 5, "v": ""},
                None,
                {"u": 2, "v": "q"},
            ],
        },
        schema_overrides={"i": pl.Int32, "t": pl.Datetime("ns")},
    ),
    "marks": pl.DataFrame(
        {
            "k": [2, 3, 3, None, 9, 1],
            "i": [0, 2, 3, 5, 5, 12],
            "x": [0.25, -0.0, NAN, 0.0, 1.0, None],
            "y": [10, 20, 20, None, 5, 0],
            "s": ["b", "a", None, "z", "é", "a"],
            "t": [T0 + timedelta(seconds=n) for n in (0, 1, 4, 4, 8, 20)],
        },
        schema_overrides={"i": pl.Int32, "t": pl.Datetime("ns")},
    ),
    "one": pl.DataFrame({"k": [2], "x": [-0.0], "b": [None], "c": ["a"]}, schema_overrides={"b": pl.Boolean}),
}
TABLES["none"] = TABLES["marks"].clear()

REQUESTS: list[tuple[str, Request]] = []
"""What the fake sources were asked since the list was last emptied."""


@dataclass(frozen=True)
class Fake(Source):
    """A source over a table above that can be exact, inexact or no help at all, by column, and records requests."""

    table: str
    exact: frozenset[str]
    inexact: frozenset[str]
    stops: bool
    pieces: tuple[tuple[int, int], ...] | None = None  # (first row, rows) of a part

    def splits(self, request: Request) -> Iterator[Split]:
        for first in range(0, TABLES[self.table].height, 3):
            yield Split(self.table, (first, 3))

    def part(self, splits: tuple[Split, ...]) -> Fake:
        return replace(self, pieces=tuple(s.part for s in splits))

    @property
    def name(self) -> str:
        return "fake"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        return dict(TABLES[self.table].schema)

    @property
    def limits(self) -> bool:
        return self.stops

    @property
    def nested_projection(self) -> bool:
        return True

    def support(self, predicate: Any) -> Support:
        assert predicate.movable, f"a source was asked for {predicate!r}, which must not move"
        assert predicate.columns <= self.schema.keys(), f"{predicate!r} is not about the columns of the source"
        if predicate.columns <= self.exact:
            return Support.EXACT
        simple = as_comparison(predicate)
        return Support.INEXACT if simple is not None and simple[0] in self.inexact else Support.NONE

    def count(self, predicates: tuple) -> int | None:
        if predicates:
            return None
        return TABLES[self.table].height

    def scan(self, request: Request) -> pl.LazyFrame:
        REQUESTS.append((self.table, request))
        levels = [self.support(p) for p in request.predicates]
        assert Support.NONE not in levels, f"the source does not support {request.predicates}"
        assert len(set(map(id, request.predicates))) == len(request.predicates), "a predicate was given twice"
        assert request.columns, "a frame without columns has no rows"
        assert list(request.columns) == [n for n in self.schema if n in request.columns], "not in schema order"
        frame = TABLES[self.table].with_row_index("__row")
        if self.pieces is not None:
            frame = pl.concat([frame.clear(), *(frame.slice(*piece) for piece in self.pieces)])
        for predicate, level in zip(request.predicates, levels):
            if level is Support.EXACT:
                frame = frame.filter(predicate.polars)
            else:  # it skips some of the rows that it could
                frame = frame.filter(predicate.polars.fill_null(False) | (pl.col("__row") % 2 == 0))
        if request.limit is not None:
            assert self.stops, "the source does not stop early"
            assert Support.INEXACT not in levels, "a limit on rows that are not all wanted"
            frame = frame.head(request.limit)
        frame = frame.select(request.columns)
        for name in request.columns:
            fields = [path for path in request.fields if path[0] == name]
            if fields:
                frame = frame.with_columns(_reduced(frame.get_column(name), [path[1] for path in fields]))
        return frame.lazy()


def _reduced(column: pl.Series, fields: list[str]) -> pl.Series:
    kept = [f for f in column.dtype.fields if f.name in fields]  # type: ignore[attr-defined]
    rows = [None if row is None else {f.name: row[f.name] for f in kept} for row in column.to_list()]
    return pl.Series(column.name, rows, dtype=pl.Struct(kept))


# -- the state of a plan under construction --------------------------------------------------------------------


@dataclass
class State:
    """A robodf frame, the same query in Polars, and what holds of the order of its rows."""

    frame: rd.PipelineDataFrame
    lazy: pl.LazyFrame
    ordered: bool
    steps: list[str] = field(default_factory=list)
    focus: tuple[str, ...] = ()
    """Columns that filters above the last step should be about."""

    @property
    def schema(self) -> dict[str, pl.DataType]:
        return dict(self.frame.schema)

    def then(self, text: str, frame: rd.PipelineDataFrame, lazy: pl.LazyFrame, ordered: bool | None = None) -> State:
        return State(frame, lazy, self.ordered if ordered is None else ordered, [*self.steps, text])

    def on(self, *focus: str) -> State:
        self.focus = focus
        return self

    def named(self, *kinds: str) -> list[str]:
        """The columns of some kinds: int, float, number, str, bool, time, list, struct, key, flat."""
        return [n for n, dtype in self.schema.items() if any(_KINDS[kind](dtype) for kind in kinds)]


_KINDS: dict[str, Callable[[pl.DataType], bool]] = {
    "int": lambda d: d.is_signed_integer(),  # an index is unsigned and has no minus
    "float": lambda d: d.is_float(),
    "number": lambda d: d.is_signed_integer() or d.is_float(),
    "str": lambda d: d == pl.String,
    "bool": lambda d: d == pl.Boolean,
    "time": lambda d: d == pl.Datetime,
    "list": lambda d: isinstance(d, pl.List),
    "struct": lambda d: isinstance(d, pl.Struct),
    "flat": lambda d: not d.is_nested(),
    "any": lambda d: True,
}


class Draw:
    """Choices; `integer(a, b)` is the only source of them, so that any generator can be behind it."""

    def __init__(self, integer: Callable[[int, int], int]):
        self.integer = integer

    def pick(self, options: Any) -> Any:
        options = list(options)
        return options[self.integer(0, len(options) - 1)]

    def chance(self, percent: int) -> bool:
        return self.integer(0, 99) >= 100 - percent

    def some(self, options: Any, least: int = 1, most: int = 3) -> list:
        """Different options, in the order drawn."""
        left = list(options)
        count = self.integer(min(least, len(left)), min(most, len(left)))
        return [left.pop(self.integer(0, len(left) - 1)) for _ in range(count)]


class NotHere(Exception):
    """The step does not fit this frame."""


Build = Callable[[Any], Any]
"""An expression, built with the functions of the module that it is given: robodf or polars."""


def of(d: Draw, names: list[str]) -> str:
    if not names:
        raise NotHere
    return d.pick(names)


def number(d: Draw, s: State, depth: int = 2) -> tuple[str, Build]:
    """An expression of numbers that reads one row at a time."""
    how = d.integer(0, 7) if depth else d.integer(0, 1)
    if how <= 1 or not s.named("number"):
        name = of(d, s.named("number"))
        return name, lambda m: m.col(name)
    if how == 2 and s.named("struct"):
        name = of(d, s.named("struct"))
        inner = [f.name for f in s.schema[name].fields if _KINDS["number"](f.dtype)]  # type: ignore[attr-defined]
        part = of(d, inner)
        return f"{name}.{part}", lambda m: m.col(name).struct.field(part)
    if how == 3:
        condition_text, condition = predicate(d, s, depth - 1)
        a_text, a = number(d, s, depth - 1)
        return f"when({condition_text}, {a_text}, 7)", lambda m: m.when(condition(m)).then(a(m)).otherwise(7)
    a_text, a = number(d, s, depth - 1)
    if how == 4:
        return f"-({a_text})", lambda m: -a(m)
    constant = d.pick([0, 1, 2, -3, 0.5])
    op = d.pick("+-*")
    if how == 5:
        b_text, b = number(d, s, depth - 1)
    else:
        b_text, b = repr(constant), lambda m: constant
    table = {"+": lambda m: a(m) + b(m), "-": lambda m: a(m) - b(m), "*": lambda m: a(m) * b(m)}
    if op == "*" and how == 5:
        op = "+"  # products of products leave the exact floats
    return f"({a_text} {op} {b_text})", table[op]


def predicate(d: Draw, s: State, depth: int = 2) -> tuple[str, Build]:
    """A condition that reads one row at a time."""
    how = d.integer(0, 12 if depth else 7)
    if how <= 2 and s.named("number"):
        name = of(d, s.named("number"))
        value = d.pick([0, 1, 2, 5, -0.0, 0.5, NAN]) if s.schema[name].is_float() else d.pick([0, 1, 2, 5, -1, 1.5])
        op = d.pick(["__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__"])
        if d.chance(20):  # the constant on the left
            return f"{value}.{op}({name})", lambda m: getattr(m.lit(value), op)(m.col(name))
        return f"{name}.{op}({value})", lambda m: getattr(m.col(name), op)(value)
    if how == 3 and s.named("str"):
        name, value = of(d, s.named("str")), d.pick(["a", "b", "", "é", "zz"])
        kind = d.pick(["==", "!=", "contains", "starts_with"])
        made = {
            "==": lambda m: m.col(name) == value,
            "!=": lambda m: m.col(name) != value,
            "contains": lambda m: m.col(name).str.contains(value, literal=True),
            "starts_with": lambda m: m.col(name).str.starts_with(value),
        }
        return f"{name} {kind} {value!r}", made[kind]
    if how == 4:
        name, null = of(d, s.named("any")), d.chance(40)
        return (
            f"{name}.is_{'' if null else 'not_'}null",
            lambda m: m.col(name).is_null() if null else m.col(name).is_not_null(),
        )
    if how == 5 and s.named("number"):
        name, closed = of(d, s.named("number")), d.pick(["both", "left", "right", "none"])
        low, high = d.pick([0, -1, 0.5]), d.pick([1, 2, 0])
        return f"{name}.is_between({low}, {high}, {closed})", lambda m: m.col(name).is_between(low, high, closed)
    if how == 6 and s.named("int", "str"):
        name = of(d, s.named("int", "str"))
        values = [1, 2, 5] if s.schema[name].is_integer() else ["a", "é"]
        return f"{name} in {values}", lambda m: m.col(name).is_in(values)
    if how == 7 and s.named("time"):
        name, value = of(d, s.named("time")), T0 + timedelta(seconds=d.integer(0, 9))
        late = d.chance(50)
        return (
            f"{name} {'>=' if late else '<'} {value}",
            lambda m: m.col(name) >= value if late else m.col(name) < value,
        )
    if how == 8 and s.named("bool"):
        name = of(d, s.named("bool"))
        return name, lambda m: m.col(name)
    if how == 9:
        a_text, a = number(d, s, max(0, depth - 1))
        return f"({a_text}) > 1", lambda m: a(m) > 1
    if depth and how >= 10:
        a_text, a = predicate(d, s, depth - 1)
        if how == 10:
            return f"~({a_text})", lambda m: ~a(m)
        b_text, b = predicate(d, s, depth - 1)
        if how == 11:
            return f"({a_text}) & ({b_text})", lambda m: a(m) & b(m)
        return f"({a_text}) | ({b_text})", lambda m: a(m) | b(m)
    name = of(d, s.named("any"))
    return f"{name}.is_not_null", lambda m: m.col(name).is_not_null()


def looking_around(d: Draw, s: State) -> tuple[str, Build]:
    """An expression of numbers that reads other rows."""
    name = of(d, s.named("int"))
    how = d.integer(0, 5)
    over = of(d, s.named("int", "str", "bool"))
    whole = [
        (f"max({name})", lambda m: m.col(name).max()),
        (f"{name} - min({name})", lambda m: m.col(name) - m.col(name).min()),
        (f"sum({name}) over {over}", lambda m: m.col(name).sum().over(over)),
    ]
    if how <= 2 or not s.ordered:
        return whole[how % 3]
    return [
        (f"cum_sum({name})", lambda m: m.col(name).cum_sum()),
        (f"shift({name})", lambda m: m.col(name).shift(1)),
        (f"shift({name}) over {over}", lambda m: m.col(name).shift(1).over(over)),
    ][how - 3]


# -- whole plans -----------------------------------------------------------------------------------------------


def base(d: Draw, parquet: dict[str, str], tables: str = "runs runs runs marks marks one none") -> State:
    """A table in memory, in a file, or in a fake source."""
    table = d.pick(tables.split())
    lazy = TABLES[table].lazy()
    how = d.integer(0, 2)
    if how == 0:
        return State(rd.from_polars(TABLES[table]), lazy, True, [table])
    if how == 1:
        return State(rd.read_parquet(parquet[table]), pl.scan_parquet(parquet[table]), True, [f"{table}.parquet"])
    names = list(TABLES[table].columns)
    exact = frozenset(d.some(names, 0, 4))
    fake = Fake(table, exact, frozenset(d.some([n for n in names if n not in exact], 0, 3)), d.chance(70))
    text = f"fake {table} exact={sorted(fake.exact)} inexact={sorted(fake.inexact)} stops={fake.stops}"
    return State(rd.PipelineDataFrame(Scan(fake)), lazy, True, [text])


def plan(d: Draw, parquet: dict[str, str], most: int = 6) -> State:
    """A random plan; steps that do not fit are left out."""
    from steps import ONE_INPUT, TIME_ONE, TIME_TWO, TWO_INPUTS

    if d.chance(40):  # an operator on time with filters above it, on rows of which some are left
        state, other = base(d, parquet, "runs marks"), base(d, parquet, "runs marks")
        state = _step(d, state, ONE_INPUT) if d.chance(40) else state
        with suppress(NotHere):
            state = d.pick(TIME_TWO)(d, state, other) if d.chance(50) else d.pick(TIME_ONE)(d, state)
        return _step(d, state, ONE_INPUT) if d.chance(40) else state
    state = base(d, parquet)
    for _ in range(d.integer(1, most)):
        before = state
        try:
            if d.chance(20):
                other = base(d, parquet) if d.chance(60) else before  # itself: a shared sub-plan
                for _ in range(d.integer(0, 2)):
                    other = _step(d, other, ONE_INPUT)
                state = d.pick(TWO_INPUTS)(d, before, other)
            else:
                state = _step(d, before, ONE_INPUT)
        except NotHere:
            state = before
    return state


def _step(d: Draw, state: State, among: list) -> State:
    try:
        return d.pick(among)(d, state)
    except NotHere:
        return state


# -- comparing -------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A value that compares as the same where it is the same: NaN equals itself, floats to nine digits."""
    if isinstance(value, float):
        return "nan" if value != value else float(f"{value:.9g}") + 0.0
    if isinstance(value, dict):
        return tuple((k, plain(v)) for k, v in value.items())
    if isinstance(value, list):
        return tuple(map(plain, value))
    return (type(value).__name__, value)


def rows(frame: pl.DataFrame) -> list[tuple]:
    return [tuple(map(plain, row)) for row in frame.rows()]


def difference(found: pl.DataFrame, wanted: pl.DataFrame, ordered: bool) -> str | None:
    """What is not the same, as text."""
    if list(found.schema.items()) != list(wanted.schema.items()):
        return f"schema {found.schema}\nwanted {wanted.schema}"
    a, b = rows(found), rows(wanted)
    if (a == b) if ordered else (Counter(a) == Counter(b)):
        return None
    return f"{found}\nwanted{'' if ordered else ' in any order'} {wanted}"


ENGINE: list[str] = []
"""Plans that Polars' streaming engine itself gets wrong, written by hand as well: see `_engine_is_wrong`."""


def check(state: State) -> None:
    """The optimized plan, the plan as it was written, and Polars give the same."""
    said = "\n  ".join(state.steps)
    wanted = _attempt(lambda: state.lazy.collect(engine="in-memory"))
    if isinstance(wanted, BaseException):
        return  # a cast that Polars finds impossible when it runs: there is nothing to compare with
    if state.lazy.collect_schema() != wanted.schema:
        # Polars 1.44 contradicts itself: full joins on keys of two types, bounds of windows where there are no rows.
        ENGINE.append("; ".join(state.steps))
        return
    assert list(state.frame.schema.items()) == list(wanted.schema.items()), f"the plan's schema is wrong\n  {said}"
    as_written = _attempt(lambda: lower_all(state.frame._plan).collect(engine="streaming"))
    for n in walk(state.frame._plan):
        if isinstance(n, Cached):
            n.kept.rows = None
    explained = state.frame.explain("optimized")
    counted = _attempt(state.frame.count_rows)
    found = _attempt(state.frame.collect)
    for what, frame in (("as written", as_written), ("optimized", found)):
        wrong = _wrong(frame, wanted, state.ordered)
        if wrong is not None and not _engine_is_wrong(state, wanted):
            raise AssertionError(f"{what}:\n{wrong}\n  {said}\n{explained}") from _cause(frame)
    if counted != wanted.height and not _engine_is_wrong(state, wanted):
        raise AssertionError(f"count_rows() is {counted}, not {wanted.height}\n  {said}\n{explained}") from _cause(
            counted
        )


def _attempt(run: Callable[[], Any]) -> Any:
    try:
        return run()
    except BaseException as error:  # a panic of Polars is one of several classes of that name
        if isinstance(error, pl.exceptions.PolarsError) or type(error).__name__ == "PanicException":
            return error
        raise


def _cause(value: Any) -> BaseException | None:
    return value if isinstance(value, BaseException) else None


def _wrong(found: Any, wanted: pl.DataFrame, ordered: bool) -> str | None:
    return repr(found) if isinstance(found, BaseException) else difference(found, wanted, ordered)


def _engine_is_wrong(state: State, wanted: pl.DataFrame) -> bool:
    """True where the query written by hand goes wrong too when the streaming engine runs it or counts its rows.

    Met so far: a right join that makes up a name that is there, a full join on a key alone that loses nulls, a count
    of a slice of an ordered join.
    """
    rows = _attempt(lambda: state.lazy.collect(engine="streaming"))
    count = _attempt(lambda: state.lazy.select(pl.len()).collect(engine="streaming").item())
    if _wrong(rows, wanted, state.ordered) is None and count == wanted.height:
        count = _attempt(lambda: state.lazy.select(pl.len()).collect(engine="in-memory").item())
        if count == wanted.height:
            return False
    ENGINE.append("; ".join(state.steps))
    return True
