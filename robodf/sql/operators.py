"""Operators by DuckDB's rules, where they differ from Polars'."""

from __future__ import annotations

import datetime as dt

import polars as pl
from sqlglot import exp

from robodf.plan.expr import Call, Expr, Lit
from robodf.sql import types
from robodf.sql.stage import Stage

_SWAPPED = {"__eq__": "=", "__ne__": "<>", "__lt__": "<", "__le__": "<=", "__gt__": ">", "__ge__": ">=",
            "eq_missing": "IS NOT DISTINCT FROM", "ne_missing": "IS DISTINCT FROM"}  # fmt: skip


def cast(e: Expr, dtype: pl.DataType | type[pl.DataType]) -> Expr:
    """A cast that cannot fail."""
    return Call("cast", (e, dtype() if isinstance(dtype, type) else dtype), (("strict", False),))


def when(condition: Expr, value: Expr, otherwise: Expr) -> Expr:
    return Call("pl.when", (condition, value, otherwise))


def both(a: Expr, b: Expr) -> Expr:
    return Call("__and__", (a, b))


def is_null(e: Expr) -> Expr:
    return Call("is_null", (e,))


_OPPOSITE = {"__eq__": "__ne__", "__lt__": "__ge__", "__gt__": "__le__", "is_null": "is_not_null",
             "eq_missing": "ne_missing"}  # fmt: skip
_OPPOSITE |= {b: a for a, b in _OPPOSITE.items()}


def negated(e: Expr) -> Expr:
    """NOT; of a comparison the opposite one, which sources understand (NaN is ordered, so they are opposites)."""
    if isinstance(e, Call) and e.fn in _OPPOSITE:
        return Call(_OPPOSITE[e.fn], e.args)
    return Call("__invert__", (e,))


def as_condition(stage: Stage, node: exp.Expr, e: Expr) -> Expr:
    """A boolean: a number is true unless it is 0."""
    dtype = stage.dtype(e)
    if dtype == pl.Boolean:
        return e
    if dtype == pl.Null:
        return Lit(None, pl.Boolean())
    if dtype.is_numeric():
        return Call("__ne__", (e, Lit(0)))
    raise stage.query.fail(node, f"this is a condition, but it is of type {dtype}")


def as_text(stage: Stage, node: exp.Expr, e: Expr) -> Expr:
    dtype = stage.dtype(e)
    if dtype == pl.String:
        return e
    if isinstance(e, Lit) and isinstance(e.value, (int, str)) and not isinstance(e.value, bool) and e.dtype is None:
        return Lit(str(e.value))
    made = types.cast(e, dtype, pl.String())
    if made is None:
        raise stage.query.fail(node, f"{dtype} has no text: cast it first")
    return made


def widened(stage: Stage, e: Expr) -> Expr:
    """Whole numbers as Int64: Polars would wrap around in the narrow type of a column."""
    dtype = stage.dtype(e)
    if isinstance(e, Lit) or not dtype.is_integer() or dtype in (pl.Int64, pl.Int128):
        return e
    return cast(e, pl.Int128 if dtype == pl.UInt64 else pl.Int64)


def like_other(stage: Stage, node: exp.Expr, a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """A text constant as a constant of the other side's type: '2024-01-01' against a time, '5' against a number."""
    return _as(stage, node, a, b), _as(stage, node, b, a)


def _as(stage: Stage, node: exp.Expr, e: Expr, other: Expr) -> Expr:
    want = stage.dtype(other)
    if not isinstance(e, Lit) or not isinstance(e.value, str) or types.kind(want) in ("text", "null"):
        return e
    if want == pl.Date and len(e.value.strip()) > 10:
        want = pl.Datetime("us")
    made = types.constant(e.value, want)
    if made is None:
        raise stage.query.fail(node, f"{e.value!r} is compared with a value of type {want}, and cannot be read as one")
    return made


def compared(stage: Stage, node: exp.Expr, fn: str, a: Expr, b: Expr) -> Expr:
    """`a fn b`, with text constants read as the type of the other side."""
    a, b = like_other(stage, node, a, b)
    ta, tb = stage.dtype(a), stage.dtype(b)
    ka, kb = types.kind(ta), types.kind(tb)
    if "null" in (ka, kb):
        if fn == "eq_missing":
            return is_null(b if ka == "null" else a)
        if fn == "ne_missing":
            return Call("is_not_null", (b if ka == "null" else a,))
        return Lit(None, pl.Boolean())
    if {ka, kb} == {"boolean", "number"}:
        a, b = (cast(e, pl.Int64) if k == "boolean" else e for e, k in ((a, ka), (b, kb)))
    elif ka != kb or (ta.is_nested() and fn not in ("__eq__", "__ne__", "eq_missing", "ne_missing")):
        raise stage.query.fail(node, f"{_SWAPPED[fn]} compares {ta} with {tb}: cast one of them")
    if isinstance(ta, pl.Datetime) and isinstance(tb, pl.Datetime) and (ta.time_zone is None) != (tb.time_zone is None):
        a, b = (_utc(e, t) for e, t in ((a, ta), (b, tb)))
    return Call(fn, (a, b))


def _utc(e: Expr, dtype: pl.Datetime) -> Expr:
    if dtype.time_zone is not None:
        return e
    if isinstance(e, Lit) and isinstance(e.value, dt.datetime):
        return Lit(e.value.replace(tzinfo=dt.timezone.utc), pl.Datetime(dtype.time_unit, "UTC"))
    return Call("dt.replace_time_zone", (e, "UTC"))


def alike(stage: Stage, node: exp.Expr, parts: list[Expr]) -> list[Expr]:
    """Values of one column: text constants as the type of the others; SQLError where the types do not go together."""
    lead = next((e for e in parts if types.kind(stage.dtype(e)) not in ("text", "null")), None)
    if lead is not None:
        parts = [_as(stage, node, e, lead) for e in parts]
    kinds = {types.kind(stage.dtype(e)) for e in parts} - {"null"}
    if len(kinds) > 1 and kinds != {"boolean", "number"}:
        raise stage.query.fail(
            node, f"the values are of different types ({', '.join(sorted(kinds))}): cast some of them"
        )
    return parts


def is_in(stage: Stage, node: exp.Expr, e: Expr, values: list[Expr]) -> Expr:
    """`e IN (values)`: null where nothing matches and a value, or `e`, is null."""
    if not values:
        raise stage.query.fail(node, "IN needs a value")
    nulls = [v for v in values if isinstance(v, Lit) and v.value is None]
    rest = [_as(stage, node, v, e) for v in values if not any(v is n for n in nulls)]
    if isinstance(e, Lit) or not rest or not _alike(rest):
        parts = [compared(stage, node, "__eq__", e, v) for v in rest]
    else:
        _ = [compared(stage, node, "__eq__", e, v) for v in rest]  # says what cannot be compared
        parts: list[Expr] = [Call("is_in", (e, tuple(v.value for v in rest)))]  # type: ignore[attr-defined]
        dtype = stage.dtype(e)
        if dtype.is_integer() != isinstance(rest[0].value, int) or dtype.is_temporal():  # type: ignore[attr-defined]
            parts = [compared(stage, node, "__eq__", e, v) for v in rest]
    if nulls:
        parts.append(Lit(None, pl.Boolean()))
    made = parts[0]
    for part in parts[1:]:
        made = Call("__or__", (made, part))
    return made


def _alike(values: list[Expr]) -> bool:
    kinds = {type(v.value) for v in values if isinstance(v, Lit)}
    return all(isinstance(v, Lit) for v in values) and len(kinds) == 1


# -- arithmetic -----------------------------------------------------------------------------------------------


def arithmetic(stage: Stage, node: exp.Binary, sign: str) -> Expr:
    """`a sign b`: / gives a float, // and % round towards zero, whole numbers are Int64."""
    from robodf.sql.expressions import compile_expr
    from robodf.sql.times import shifted

    if sign in "+-":
        moved = shifted(stage, node, sign)
        if moved is not None:
            return moved
    a, b = compile_expr(stage, node.this), compile_expr(stage, node.expression)
    return computed(stage, node, sign, a, b)


def computed(stage: Stage, node: exp.Expr, sign: str, a: Expr, b: Expr) -> Expr:
    ta, tb = stage.dtype(a), stage.dtype(b)
    if pl.Null in (ta, tb):
        other = tb if ta == pl.Null else ta
        return Lit(None, other if other != pl.Null else pl.Int32())
    if types.is_text(ta) and types.is_text(tb):
        raise stage.query.fail(node, f"{sign} takes numbers, not texts: texts are joined with ||")
    a, b = like_other(stage, node, a, b)
    ta, tb = stage.dtype(a), stage.dtype(b)
    if ta.is_temporal() or tb.is_temporal():
        return _time_arithmetic(stage, node, sign, a, b)
    if not (ta.is_numeric() and tb.is_numeric()):
        raise stage.query.fail(node, f"{sign} takes numbers, not {ta} and {tb}")
    if sign == "^":
        return Call("pow", (cast(a, pl.Float64), cast(b, pl.Float64)))
    whole = stage.dtype(a).is_integer() and stage.dtype(b).is_integer()
    if sign == "/" or (sign == "//" and not whole):  # DuckDB's // of floats does not round
        narrow = pl.Float32 in (ta, tb) and pl.Float64 not in (_fixed(a, ta), _fixed(b, tb))
        real = pl.Float32 if narrow else pl.Float64
        return Call("__truediv__", (_real(a, real), _real(b, real)))
    a, b = widened(stage, a), widened(stage, b)
    if isinstance(a, Lit) and isinstance(b, Lit) and sign in "+-*" and a.dtype is None is b.dtype:
        return Lit({"+": a.value + b.value, "-": a.value - b.value, "*": a.value * b.value}[sign])
    if sign == "//":
        return _towards_zero(a, b)
    if sign == "%":
        return _remainder(a, b)
    return Call({"+": "__add__", "-": "__sub__", "*": "__mul__"}[sign], (a, b))


def _fixed(e: Expr, dtype: pl.DataType) -> pl.DataType | None:
    """The type, unless it is a literal, which takes that of the other side."""
    return None if isinstance(e, Lit) else dtype


def _real(e: Expr, dtype: type[pl.DataType]) -> Expr:
    if isinstance(e, Lit) and isinstance(e.value, (int, float)) and dtype is pl.Float64:
        return Lit(float(e.value))
    return cast(e, dtype)


def _signs_differ(a: Expr, b: Expr) -> Expr:
    zero = Lit(0)
    return Call("__ne__", (Call("__lt__", (a, zero)), Call("__lt__", (b, zero))))


def _towards_zero(a: Expr, b: Expr) -> Expr:
    floor = Call("__floordiv__", (a, b))
    uneven = Call("__ne__", (Call("__mod__", (a, b)), Lit(0)))
    return when(both(uneven, _signs_differ(a, b)), Call("__add__", (floor, Lit(1))), floor)


def _remainder(a: Expr, b: Expr) -> Expr:
    rest = Call("__mod__", (a, b))  # with the sign of b; C gives it that of a
    return when(both(Call("__ne__", (rest, Lit(0))), _signs_differ(a, b)), Call("__sub__", (rest, b)), rest)


def _time_arithmetic(stage: Stage, node: exp.Expr, sign: str, a: Expr, b: Expr) -> Expr:
    ta, tb = stage.dtype(a), stage.dtype(b)
    if sign == "-" and ta == tb == pl.Date:
        return Call("dt.total_days", (Call("__sub__", (a, b)),))
    if sign == "+" and ta.is_integer():
        a, b, ta, tb = b, a, tb, ta
    if sign in "+-" and ta == pl.Date and tb.is_integer():
        days = Call("pl.duration", (), (("days", b),))
        return Call("cast", (Call("__add__" if sign == "+" else "__sub__", (a, days)), pl.Date()))
    if sign in "+-" and pl.Date in (ta, tb):
        a, b = (Call("cast", (e, pl.Datetime("us"))) if t == pl.Date else e for e, t in ((a, ta), (b, tb)))
    fn = {"+": "__add__", "-": "__sub__", "*": "__mul__", "/": "__truediv__"}.get(sign)
    allowed = {"+": {("time", "duration"), ("duration", "time"), ("duration", "duration")},
               "-": {("time", "time"), ("time", "duration"), ("duration", "duration")},
               "*": {("duration", "number"), ("number", "duration")},
               "/": {("duration", "number"), ("duration", "duration")}}.get(sign, set())  # fmt: skip
    if fn is None or (types.kind(ta), types.kind(tb)) not in allowed:
        raise stage.query.fail(node, f"{sign} does not go with {ta} and {tb}")
    return Call(fn, (a, b))


def listed(stage: Stage, node: exp.Expr, parts: list[Expr]) -> Expr:
    """A list of its elements. Whole numbers get their type here: Polars cannot search a list of untyped constants."""
    typed = [
        Lit(e.value, pl.Int64()) if isinstance(e, Lit) and type(e.value) is int else e
        for e in alike(stage, node, parts)
    ]
    return Call("pl.concat_list", tuple(typed))


def element(stage: Stage, node: exp.Expr, e: Expr, index: Expr) -> Expr:
    """`l[i]`, from 1, from the end where negative, null outside; of a text the character."""
    dtype = stage.dtype(e)
    if not stage.dtype(index).is_integer():
        raise stage.query.fail(node, f"a position is a whole number, not {stage.dtype(index)}")
    if isinstance(index, Lit) and isinstance(index.value, int):
        if index.value == 0:
            place: Expr = Lit(None, pl.Int64())
        else:
            place = Lit(index.value - 1 if index.value > 0 else index.value)
    else:
        wide = cast(index, pl.Int64)
        above = Call("__gt__", (wide, Lit(0)))
        at_zero = Call("__eq__", (wide, Lit(0)))
        place = Call("pl.when", (above, Call("__sub__", (wide, Lit(1))), at_zero, Lit(None, pl.Int64()), wide))
    if isinstance(dtype, pl.List):
        return Call("list.get", (e, place), (("null_on_oob", True),))
    if isinstance(dtype, pl.Array):
        return Call("arr.get", (e, place), (("null_on_oob", True),))
    if dtype == pl.String:
        return Call("str.slice", (e, place, Lit(1)))
    raise stage.query.fail(node, f"a value of type {dtype} has no elements")
