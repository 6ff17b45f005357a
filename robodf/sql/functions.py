"""Scalar functions by DuckDB's names. A new one is a line of `FUNCTIONS`: what it takes and what it makes.

What it takes is a word a parameter: S text, N number, I whole number, B condition, T date or timestamp, L list, A any
value; in lower case it must be a constant and arrives as a Python value. `?` marks what may be left out (it arrives as
None), `*` a last one that may come any number of times.
"""

from __future__ import annotations

import datetime as dt
import inspect
import math
from collections.abc import Callable
from typing import Any

import polars as pl
from sqlglot import exp

from robodf.errors import SQLError
from robodf.plan.expr import Call, Expr, Lit
from robodf.sql import operators, patterns, times, types
from robodf.sql.errors import missing
from robodf.sql.operators import cast, is_null, when
from robodf.sql.stage import Stage

NEVER = frozenset(
    """random uuid gen_random_uuid now current_timestamp current_date current_time today get_current_timestamp
    get_current_time setseed nextval transaction_timestamp localtimestamp localtime""".split()
)
"""Functions whose value changes from run to run."""
_WORDS = {"S": "text", "N": "a number", "I": "a whole number", "B": "a condition", "T": "a date or timestamp",
          "L": "a list", "A": "a value"}  # fmt: skip
_NULL = {"S": pl.String, "N": pl.Float64, "I": pl.Int64, "B": pl.Boolean, "T": pl.Datetime("us")}


def never(stage: Stage, node: exp.Expr, name: str) -> SQLError:
    """The error for a function of `NEVER`."""
    return stage.query.fail(node, f"{name} changes from run to run, and a plan must not: pass its value as a constant")


def _f(e: Expr) -> Expr:
    return cast(e, pl.Float64)


def _method(name: str, *args: Any, **options: Any) -> Callable[..., Expr]:
    return lambda e: Call(name, (e, *args), tuple(options.items()))


def _int(name: str) -> Callable[[Expr], Expr]:
    return lambda e: cast(Call(name, (e,)), pl.Int64)


def _rounded(stage: Stage, e: Expr, digits: int | None) -> Expr:
    dtype = stage.dtype(e)
    digits = digits or 0
    if dtype.is_integer():
        if digits >= 0:
            return e
        step = Lit(10**-digits)
        half = Call("__floordiv__", (Call("__add__", (Call("abs", (e,)), Lit(10**-digits // 2))), step))
        return Call("__mul__", (Call("__mul__", (half, step)), cast(Call("sign", (e,)), pl.Int64)))
    if digits < 0:
        scale = Lit(10.0**-digits)
        return Call("__mul__", (_rounded(stage, Call("__truediv__", (e, scale)), 0), scale))
    return Call("round", (e,), (("decimals", digits), ("mode", "half_away_from_zero")))


def _log(stage: Stage, a: Expr, b: Expr | None) -> Expr:
    value, base = (a, Lit(10.0)) if b is None else (b, a)
    if b is None:
        return Call("log10", (_f(value),))
    return Call("__truediv__", (Call("log", (_f(value),)), Call("log", (_f(base),))))


def _extreme(fn: str) -> Callable[..., Expr]:
    def build(stage: Stage, first: Expr, *rest: Expr) -> Expr:
        best, *others = operators.alike(stage, stage.at, [first, *rest])
        for e in others:  # by comparing, since NaN is the greatest of all; nulls are passed over
            best = Call("pl.when", (is_null(best), e, is_null(e), best, Call(fn, (e, best)), e, best))
        return best

    return build


def _coalesce(stage: Stage, *parts: Expr) -> Expr:
    return Call("pl.coalesce", tuple(operators.alike(stage, stage.at, list(parts))))


def _substring(stage: Stage, e: Expr, start: Expr, length: Expr | None) -> Expr:
    start = cast(start, pl.Int64)
    size = cast(Call("str.len_chars", (e,)), pl.Int64)
    # Positions count from 1; a negative one counts from the end; one before the text uses up the length.
    begin = when(Call("__lt__", (start, Lit(0))), Call("__add__", (size, start)), Call("__sub__", (start, Lit(1))))
    if length is None:
        return Call("str.slice", (e, Call("pl.max_horizontal", (begin, Lit(0)))))
    end = Call("__add__", (begin, cast(length, pl.Int64)))
    low = Call("pl.max_horizontal", (begin, Lit(0)))
    count = Call("pl.max_horizontal", (Call("__sub__", (end, low)), Lit(0)))
    made = Call("str.slice", (e, low, cast(count, pl.UInt64)))
    return when(Call("__or__", (is_null(start), is_null(length))), Lit(None, pl.String()), made)


def _constant_substring(stage: Stage, e: Expr, start: Expr, length: Expr | None) -> Expr:
    if isinstance(length, Lit) and isinstance(length.value, int) and length.value < 0:
        raise _Wrong(2, "a length must not be negative")
    if isinstance(start, Lit) and start.value and start.value > 0 and (length is None or isinstance(length, Lit)):
        return Call("str.slice", (e, start.value - 1, *(() if length is None else (length.value,))))
    return _substring(stage, e, start, length)


class _Wrong(Exception):
    """An argument that a builder refuses: its position and why."""

    def __init__(self, position: int, message: str):
        super().__init__(message)
        self.position = position


def _pad(fn: str) -> Callable[..., Expr]:
    def build(stage: Stage, e: Expr, length: int, fill: str) -> Expr:
        if length < 0 or len(fill) != 1:
            raise _Wrong(2 if len(fill) != 1 else 1, "padding takes a length from 0 and one character to fill with")
        return Call(fn, (Call("str.head", (e, length)), length, fill))

    return build


def _split_part(stage: Stage, e: Expr, by: str, n: int) -> Expr:
    if not by:
        raise _Wrong(1, "the separator must not be empty")
    place = n - 1 if n > 0 else n
    if n == 0:
        raise _Wrong(2, "parts count from 1, or from -1 at the end")
    part = Call("list.get", (Call("str.split", (e, by)), place), (("null_on_oob", True),))
    return when(is_null(e), Lit(None, pl.String()), Call("pl.coalesce", (part, Lit(""))))


def _concat(stage: Stage, *parts: Expr) -> Expr:
    texts = tuple(_text(stage, p) for p in parts)
    return Call("pl.concat_str", texts, (("ignore_nulls", True),))


def _concat_ws(stage: Stage, by: str, *parts: Expr) -> Expr:
    texts = tuple(_text(stage, p) for p in parts)
    return Call("pl.concat_str", texts, (("separator", by), ("ignore_nulls", True)))


def _text(stage: Stage, e: Expr) -> Expr:
    return operators.as_text(stage, stage.at, e)


def _position(stage: Stage, e: Expr, part: Expr) -> Expr:
    found = Call("str.find", (e, part), (("literal", True),))
    byte = cast(found, pl.Int64)  # Polars counts bytes
    before = Call(
        "str.len_chars", (Call("cast", (Call("bin.head", (Call("cast", (e, pl.Binary())), byte)), pl.String())),)
    )
    place = Call("__add__", (cast(before, pl.Int64), Lit(1)))
    nothing = Call("__or__", (is_null(e), is_null(part)))
    return Call("pl.when", (nothing, Lit(None, pl.Int64()), is_null(found), Lit(0), place))


def _length(stage: Stage, e: Expr) -> Expr:
    dtype = stage.dtype(e)
    if isinstance(dtype, pl.List):
        return cast(Call("list.len", (e,)), pl.Int64)
    if isinstance(dtype, pl.Array):
        return cast(Call("arr.len", (e,)), pl.Int64)
    if dtype == pl.String:
        return cast(Call("str.len_chars", (e,)), pl.Int64)
    raise _Wrong(0, f"length takes a text or a list, not {dtype}")


def _pick(stage: Stage, e: Expr, key: Expr) -> Expr:
    return operators.element(stage, stage.at, e, key)


def _struct_field(stage: Stage, e: Expr, name: str) -> Expr:
    dtype = stage.dtype(e)
    names = [f.name for f in dtype.fields] if isinstance(dtype, pl.Struct) else []
    if name not in names:
        raise _Wrong(1, missing("field", name, names, "Fields"))
    return Call("struct.field", (e, name))


def _regex(stage: Stage, pattern: str, flags: str | None) -> str:
    if flags is not None and set(flags) - set("isg"):
        raise _Wrong(-1, "flags are i (case does not count), s (a dot is any character) and g (all)")
    used = "".join(sorted(set(flags or "") & set("is")))
    return patterns.checked(stage, stage.at, f"(?{used}){pattern}" if used else pattern)


def _regexp_replace(stage: Stage, e: Expr, pattern: str, to: str, flags: str | None) -> Expr:
    fn = "str.replace_all" if flags and "g" in flags else "str.replace"
    rust = to.replace("$", "$$")
    for n in range(10):
        rust = rust.replace(f"\\{n}", f"${{{n}}}")
    return Call(fn, (e, _regex(stage, pattern, flags), Lit(rust)))


def _regexp_extract(stage: Stage, e: Expr, pattern: str, group: int | None) -> Expr:
    found = Call("str.extract", (e, _regex(stage, pattern, None)), (("group_index", group or 0),))
    return when(is_null(e), Lit(None, pl.String()), Call("pl.coalesce", (found, Lit(""))))


def _list_contains(stage: Stage, e: Expr, value: Expr) -> Expr:
    dtype, want = stage.dtype(e), stage.dtype(value)
    inner = getattr(dtype, "inner", want)
    if inner.is_integer() and want.is_float():
        inner = pl.Float64()
        e = Call("cast", (e, pl.List(inner)))
    if want != inner and types.kind(want) not in (types.kind(inner), "null"):
        raise _Wrong(1, f"a list of {inner} is searched for {want}: cast one of them")
    fn = "arr.contains" if isinstance(dtype, pl.Array) else "list.contains"
    if isinstance(value, Lit):
        value = Lit(value.value, inner)
    return Call(fn, (e, cast(value, inner) if want != inner else value), (("nulls_equal", False),))


def _slice(stage: Stage, e: Expr, first: int, last: int) -> Expr:
    if first < 1 or last < 0:
        raise _Wrong(1, "positions count from 1")
    fn = "list.slice" if isinstance(stage.dtype(e), pl.List) else "str.slice"
    return Call(fn, (e, first - 1, max(0, last - first + 1)))


def _part(stage: Stage, name: str, e: Expr) -> Expr:
    return times.part(stage, stage.at, name, e)


def _named_part(name: str) -> Callable[..., Expr]:
    return lambda stage, e: times.part(stage, stage.at, name, e)


def _to_timestamp(stage: Stage, seconds: Expr) -> Expr:
    count = Call("round", (Call("__mul__", (_f(seconds), Lit(1e6))),))
    return Call("cast", (cast(count, pl.Int64), pl.Datetime("us", "UTC")))


def _make_timestamp(stage: Stage, y: Expr, mo: Expr, d: Expr, h: Expr, mi: Expr, s: Expr) -> Expr:
    whole = cast(Call("floor", (_f(s),)), pl.Int64)
    rest = cast(Call("round", (Call("__mul__", (Call("__sub__", (_f(s), _f(whole))), Lit(1e6))),)), pl.Int64)
    return Call("pl.datetime", (y, mo, d, h, mi, whole, rest))


def _epoch_in(unit: str) -> Callable[..., Expr]:
    def build(stage: Stage, e: Expr) -> Expr:
        if stage.dtype(e) == pl.Date:
            e = Call("cast", (e, pl.Datetime("us")))
        return Call("dt.epoch", (e, unit))

    return build


def _to_duration(unit: str) -> Callable[..., Expr]:
    return lambda stage, n: times.duration(n, unit)


def _time_bucket(stage: Stage, width: Expr, e: Expr, origin: Expr | None) -> Expr:
    length = width.value if isinstance(width, Lit) else None
    if not isinstance(length, dt.timedelta) or length <= dt.timedelta():
        raise _Wrong(0, "the width is an interval longer than nothing, as a constant; for months see date_trunc")
    given = origin.value if isinstance(origin, Lit) else origin
    if isinstance(given, str):
        constant = types.constant(given, pl.Datetime("us"))
        given = constant.value if isinstance(constant, Lit) else given
    start = times.bucket_origin(given)
    if start is None:
        raise _Wrong(2, "the origin is a timestamp or an interval, as a constant")
    return times.bucket(length, e, stage.dtype(e), start)


def _truncated(stage: Stage, name: str, e: Expr) -> Expr:
    return times.truncated(stage, stage.at, name, e)


def _sign(e: Expr) -> Expr:
    return cast(when(Call("is_nan", (_f(e),)), Lit(0), Call("sign", (e,))), pl.Int8)


def _nullif(stage: Stage, a: Expr, b: Expr) -> Expr:
    return when(operators.compared(stage, stage.at, "__eq__", a, b), Lit(None), a)


def _binary(sign: str) -> Callable[..., Expr]:
    return lambda stage, a, b: operators.computed(stage, stage.at, sign, a, b)


def _unary_float(name: str) -> tuple[str, Callable[..., Expr]]:
    return "N", lambda e: Call(name, (_f(e),))


def _bool_float(name: str) -> tuple[str, Callable[..., Expr]]:
    return "N", lambda e: Call(name, (_f(e),))


FUNCTIONS: dict[str, tuple[str, Callable[..., Expr]]] = {
    # numbers
    "abs": ("N", lambda stage, e: Call("abs", (operators.widened(stage, e),))),
    "round": ("N i?", _rounded),
    "floor": _unary_float("floor"), "ceil": _unary_float("ceil"), "trunc": _unary_float("truncate"),
    "sqrt": _unary_float("sqrt"), "cbrt": _unary_float("cbrt"), "exp": _unary_float("exp"), "ln": _unary_float("log"),
    "log10": _unary_float("log10"), "log2": ("N", lambda e: Call("log", (_f(e), 2.0))), "log": ("N N?", _log),
    "sin": _unary_float("sin"), "cos": _unary_float("cos"), "tan": _unary_float("tan"), "asin": _unary_float("arcsin"),
    "acos": _unary_float("arccos"), "atan": _unary_float("arctan"), "degrees": _unary_float("degrees"),
    "radians": _unary_float("radians"), "atan2": ("N N", lambda a, b: Call("pl.arctan2", (_f(a), _f(b)))),
    "pi": ("", lambda: Lit(math.pi)), "power": ("N N", _binary("^")), "sign": ("N", _sign),
    "mod": ("N N", _binary("%")),
    "fdiv": ("N N", lambda a, b: Call("floor", (Call("__truediv__", (_f(a), _f(b))),))),
    "isnan": _bool_float("is_nan"), "isinf": _bool_float("is_infinite"), "isfinite": _bool_float("is_finite"),
    "greatest": ("A A*", _extreme("__gt__")), "least": ("A A*", _extreme("__lt__")),
    # any value
    "coalesce": ("A A*", _coalesce),
    "ifnull": ("A A", _coalesce), "nullif": ("A A", _nullif),
    # texts
    "lower": ("S", _method("str.to_lowercase")), "upper": ("S", _method("str.to_uppercase")),
    "length": ("A", _length), "strlen": ("S", _int("str.len_bytes")), "reverse": ("S", _method("str.reverse")),
    "trim": ("S s?", lambda e, c: Call("str.strip_chars", (e, " " if c is None else c))),
    "ltrim": ("S s?", lambda e, c: Call("str.strip_chars_start", (e, " " if c is None else c))),
    "rtrim": ("S s?", lambda e, c: Call("str.strip_chars_end", (e, " " if c is None else c))),
    "substring": ("S I I?", _constant_substring),
    "left": ("S i", lambda e, n: Call("str.head", (e, n))), "right": ("S i", lambda e, n: Call("str.tail", (e, n))),
    "replace": ("S S S", lambda e, a, b: Call("str.replace_all", (e, a, b), (("literal", True),))),
    "concat": ("A A*", _concat), "concat_ws": ("s A A*", _concat_ws), "split_part": ("S s i", _split_part),
    "contains": ("A A", lambda stage, e, part: _contains(stage, e, part)),
    "starts_with": ("S S", lambda e, part: Call("str.starts_with", (e, part))),
    "ends_with": ("S S", lambda e, part: Call("str.ends_with", (e, part))),
    "strpos": ("S S", _position), "lpad": ("S i s", _pad("str.pad_start")), "rpad": ("S i s", _pad("str.pad_end")),
    "repeat": ("S i", lambda e, n: Call("pl.concat_str", (e,) * max(n, 1)) if n > 0 else Call("str.head", (e, 0))),
    "split": ("S s", lambda e, by: Call("str.split", (e, by))),
    "regexp_matches": ("S s s?", lambda stage, e, p, f: Call("str.contains", (e, _regex(stage, p, f)))),
    "regexp_full_match": ("S s", lambda stage, e, p: Call("str.contains", (e, _regex(stage, f"^(?:{p})$", None)))),
    "regexp_replace": ("S s s s?", _regexp_replace), "regexp_extract": ("S s i?", _regexp_extract),
    # lists and structs
    "array_length": ("L", _length), "list_contains": ("L A", _list_contains), "list_extract": ("A I", _pick),
    "list_slice": ("A i i", _slice), "list_sum": ("L", _method("list.sum")), "list_max": ("L", _method("list.max")),
    "list_min": ("L", _method("list.min")), "list_avg": ("L", _method("list.mean")),
    "list_sort": ("L", _method("list.sort", nulls_last=True)), "list_distinct": ("L", _method("list.unique")),
    "list_value": ("A A*", lambda stage, first, *rest: operators.listed(stage, stage.at, [first, *rest])),
    "array_to_string": ("L s", lambda e, by: Call("list.join", (e, by))), "struct_extract": ("A s", _struct_field),
    # times
    "date_part": ("s T", _part), "date_trunc": ("s T", _truncated), "time_bucket": ("A T A?", _time_bucket),
    "to_timestamp": ("N", _to_timestamp),
    "make_timestamp": ("I I I I I N", _make_timestamp),
    "make_date": ("I I I", lambda y, m, d: Call("pl.date", (y, m, d))),
    "epoch_ms": ("T", _epoch_in("ms")), "epoch_us": ("T", _epoch_in("us")), "epoch_ns": ("T", _epoch_in("ns")),
    "strftime": ("T s", lambda e, format: Call("dt.strftime", (e, format))),
    **{name: ("A", _named_part(name)) for name in ("epoch", "year", "month", "day", "hour", "minute", "second",
       "millisecond", "microsecond", "quarter", "week", "doy", "dow", "isodow", "isoyear", "century")},
    **{f"to_{unit}s": ("N", _to_duration(unit)) for unit in ("microsecond", "millisecond", "second", "minute", "hour",
       "day", "week")},
}  # fmt: skip

ALIASES = {
    "ceiling": "ceil", "pow": "power", "lcase": "lower", "ucase": "upper", "len": "length", "char_length": "length",
    "substr": "substring", "prefix": "starts_with", "suffix": "ends_with", "instr": "strpos", "string_split": "split",
    "str_split": "split", "list_has": "list_contains", "array_contains": "list_contains", "array_has": "list_contains",
    "element_at": "list_extract", "array_extract": "list_extract", "datepart": "date_part", "datetrunc": "date_trunc",
    "dayofweek": "dow", "weekday": "dow", "dayofyear": "doy", "weekofyear": "week", "dayofmonth": "day",
    "list_length": "array_length", "array_slice": "list_slice", "is_nan": "isnan",
}  # fmt: skip
"""Other names of the same functions."""


def _contains(stage: Stage, e: Expr, part: Expr) -> Expr:
    if isinstance(stage.dtype(e), pl.List):
        return _list_contains(stage, e, part)
    if stage.dtype(e) != pl.String:
        raise _Wrong(0, f"contains takes a text or a list, not {stage.dtype(e)}")
    return Call("str.contains", (e, part), (("literal", True),))


def call(stage: Stage, node: exp.Anonymous) -> Expr:
    """A call of a scalar function."""
    from robodf.sql.aggregates import AGGREGATES
    from robodf.sql.windows import ONLY_WINDOWS

    name = node.name.lower()
    if name == "unnest":
        from robodf.sql.unnest import unnest_in_select

        return unnest_in_select(stage, node)
    if name in NEVER:
        raise never(stage, node, name)
    if name in ONLY_WINDOWS:
        raise stage.query.fail(node, f"{name} is a window function: write {name}(...) OVER (...)")
    known = ALIASES.get(name, name)
    if known not in FUNCTIONS:
        names = [*FUNCTIONS, *ALIASES, *AGGREGATES, *ONLY_WINDOWS]
        from robodf.errors import hint

        raise stage.query.fail(
            node, f"no function {name!r}{hint(name, names)} Frames take any function: df.map_batches(...)"
        )
    takes, build = FUNCTIONS[known]
    args = _arguments(stage, node, name, takes.split())
    context = (stage,) if next(iter(inspect.signature(build).parameters), "") == "stage" else ()
    stage.at = node
    try:
        return build(*context, *args)
    except _Wrong as wrong:
        places = node.expressions
        at = places[wrong.position] if -len(places) <= wrong.position < len(places) else node
        raise stage.query.fail(at, f"{name}: {wrong}") from None


def _arguments(stage: Stage, node: exp.Anonymous, name: str, takes: list[str]) -> list[Any]:
    from robodf.sql.expressions import compile_expr

    given = node.expressions
    least = sum(1 for t in takes if t[-1] not in "?*")
    most = math.inf if takes and takes[-1].endswith("*") else len(takes)
    if not least <= len(given) <= most:
        wanted = str(least) if least == most else f"{least} or more" if most == math.inf else f"{least} to {most}"
        raise stage.query.fail(node, f"{name} takes {wanted} arguments, not {len(given)}")
    args: list[Any] = []
    for i, item in enumerate(given):
        want = takes[min(i, len(takes) - 1)][0]
        args.append(_argument(stage, item, compile_expr(stage, item), name, want))
    missing_ones = [None for t in takes[len(given) :] if t.endswith("?")]
    return args + missing_ones


def _argument(stage: Stage, node: exp.Expr, e: Expr, name: str, want: str) -> Any:
    kind = want.upper()
    if want.islower():
        value = e.value if isinstance(e, Lit) else None
        if not isinstance(value, {"S": str, "I": int, "N": (int, float)}[kind]):
            raise stage.query.fail(node, f"{name} takes {_WORDS[kind]} here, as a constant")
        return value
    dtype = stage.dtype(e)
    if kind == "A":
        return e
    if dtype == pl.Null:
        return Lit(None, _NULL[kind]() if isinstance(_NULL[kind], type) else _NULL[kind]) if kind in _NULL else e
    if kind == "T" and isinstance(e, Lit) and isinstance(e.value, str):
        made = types.constant(e.value, pl.Datetime("us"))
        if made is not None:
            return made
    fits = {
        "S": types.is_text(dtype), "N": dtype.is_numeric(), "I": dtype.is_integer(), "B": dtype == pl.Boolean,
        "T": dtype == pl.Date or isinstance(dtype, pl.Datetime), "L": isinstance(dtype, (pl.List, pl.Array)),
    }[kind]  # fmt: skip
    if not fits:
        raise stage.query.fail(node, f"{name} takes {_WORDS[kind]} here, not {dtype}: cast it")
    return cast(e, pl.String) if kind == "S" and dtype != pl.String else e
