"""Window functions: one value a row, out of the rows of its partition."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl
from sqlglot import exp

from robodf.plan.expr import Call, Col, Expr, Lit
from robodf.sql.aggregates import AGGREGATES, aggregate
from robodf.sql.operators import cast, when
from robodf.sql.stage import Stage

ONLY_WINDOWS = ("row_number", "rank", "dense_rank", "lag", "lead", "first_value", "last_value")
_FRAMES = (
    "frames are: ROWS n PRECEDING up to the current row, ROWS or RANGE UNBOUNDED PRECEDING up to the current row, and "
    "UNBOUNDED PRECEDING to UNBOUNDED FOLLOWING"
)
_ALL = "For all rows of the partition, say ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING"
_ARGUMENTS = {"row_number": (0, 0), "rank": (0, 0), "dense_rank": (0, 0), "lag": (1, 3), "lead": (1, 3)}
_RUNNING = ("count", "sum", "avg", "mean", "min", "max")


@dataclass
class Over:
    """PARTITION BY and ORDER BY, as Polars' `over` takes them."""

    stage: Stage
    partition: list[Expr]
    keys: list[Expr] = field(default_factory=list)
    descending: bool = False
    nulls_last: bool = True
    wanted: str = "window"

    def along(self, e: Expr) -> Col:
        """`e` evaluated over the rows of the partition in their order, as a column."""
        options: tuple[tuple[str, Any], ...] = ()
        if self.keys:
            options = (("order_by", tuple(self.keys)), ("descending", self.descending), ("nulls_last", self.nulls_last))
        return self.stage.add(self.wanted, Call("over", (e, *(self.partition or [Lit(1)])), options))

    def within(self, e: Expr, extra: list[Expr] | None = None) -> Col:
        """`e` evaluated over the partition without an order, or over the rows that are equal on `extra` too."""
        return self.stage.add(self.wanted, Call("over", (e, *(self.partition + (extra or []) or [Lit(1)]))))

    def row_number(self) -> Col:
        count = Call("pl.int_range", (Lit(1), Call("__add__", (cast(Call("pl.len", ()), pl.Int64), Lit(1)))))
        return self.along(cast(count, pl.Int64))

    def of_last_peer(self, e: Expr, number: Expr) -> Col:
        """The value that `e` has in the last of the rows that ORDER BY does not tell apart."""
        return self.within(Call("last", (Call("sort_by", (e, number)),)), self.keys)


def window(stage: Stage, node: exp.Window) -> Expr:
    """The column that holds the window function."""
    from robodf.sql.naming import text_of

    call = node.this.this if isinstance(node.this, exp.Filter) else node.this
    if not isinstance(call, exp.Anonymous):
        raise stage.query.fail(node.this, "this is not supported as a window function")
    stage.query.check_args(call, ("this", "expressions"))
    name = call.name.lower()
    partition, order, spec = _parts(stage, node)
    over = _over(stage, partition, order, text_of(node))
    if name in ONLY_WINDOWS:
        if isinstance(node.this, exp.Filter):
            raise stage.query.fail(node.this, "FILTER goes with an aggregate")
        return _only_window(over, call, name, spec)
    if name not in AGGREGATES:
        from robodf.sql.errors import missing

        raise stage.query.fail(call, missing("window function", name, [*ONLY_WINDOWS, *_RUNNING], "Functions"))
    frame = _frame(stage, spec, bool(order))
    if frame == "all":
        return over.within(aggregate(stage, node.this))
    return _running(over, node, call, frame)


def _parts(stage: Stage, node: exp.Window) -> tuple[list, list, exp.Expr | None]:
    """PARTITION BY, ORDER BY and the frame, with those of the named window that it builds on."""
    partition, order = node.args.get("partition_by") or [], node.args.get("order")
    spec, base = node.args.get("spec"), node.args.get("alias")
    stage.query.check_args(node, ("this", "partition_by", "order", "spec", "alias", "over"))
    keys = order.expressions if order is not None else []
    if base is None:
        return partition, keys, spec
    named = stage.windows.get(base.name.lower())
    if named is None:
        from robodf.sql.errors import missing

        raise stage.query.fail(base, missing("window", base.name, stage.windows, "Windows"))
    below, below_keys, below_spec = _parts(stage, named)
    return partition or below, keys or below_keys, spec if spec is not None else below_spec


def _over(stage: Stage, partition: list, order: list, wanted: str) -> Over:
    from robodf.sql.expressions import compile_expr

    over = Over(stage, [e for p in partition if (e := compile_expr(stage, p)).columns], wanted=wanted)
    keys = [(compile_expr(stage, o.this), bool(o.args.get("desc")), not o.args.get("nulls_first")) for o in order]
    keys = [k for k in keys if k[0].columns]
    if len(keys) == 1:
        ((key, over.descending, over.nulls_last),) = keys
        over.keys = [key]
    elif keys:
        # `over` takes one direction for all keys, and not every version of it places the nulls of several: each key
        # becomes its rank, so that all are whole numbers in ascending order.
        over.keys = [_rank(stage, *k) for k in keys]
    return over


def _rank(stage: Stage, key: Expr, descending: bool, nulls_last: bool) -> Col:
    rank = cast(Call("rank", (key,), (("method", "dense"), ("descending", descending))), pl.Int64)
    return stage.add("rank", Call("fill_null", (rank, Lit((1 << 62) if nulls_last else 0))))


def _frame(stage: Stage, spec: exp.Expr | None, ordered: bool) -> str | int:
    """`all` rows of the partition, `peers` or `rows` up to this one, or the number of rows before it."""
    if spec is None:
        return "peers" if ordered else "all"
    stage.query.check_args(spec, ("kind", "start", "start_side", "end", "end_side"))
    kind, start, end = str(spec.args.get("kind")).upper(), spec.args.get("start"), spec.args.get("end")
    sides = str(spec.args.get("start_side") or "").upper(), str(spec.args.get("end_side") or "").upper()
    if start == "UNBOUNDED" and sides[0] == "PRECEDING":
        if end == "UNBOUNDED" and sides[1] == "FOLLOWING":
            return "all"
        if end in (None, "CURRENT ROW") and kind in ("ROWS", "RANGE"):
            return "rows" if kind == "ROWS" else ("peers" if ordered else "all")
    if (
        isinstance(start, exp.Literal)
        and start.name.isdigit()
        and end in (None, "CURRENT ROW")
        and kind == "ROWS"
        and sides[0] == "PRECEDING"
    ):
        return int(start.name)
    raise stage.query.fail(spec, _FRAMES)


def _only_window(over: Over, call: exp.Anonymous, name: str, spec: exp.Expr | None) -> Expr:
    from robodf.sql.expressions import compile_expr

    stage, items = over.stage, call.expressions
    wanted = {"row_number": (0, 0), "rank": (0, 0), "dense_rank": (0, 0), "lag": (1, 3), "lead": (1, 3)}.get(
        name, (1, 1)
    )
    if not wanted[0] <= len(items) <= wanted[1]:
        raise stage.query.fail(call, f"{name} takes {wanted[0]} to {wanted[1]} arguments, not {len(items)}")
    args = [compile_expr(stage, item) for item in items]
    if name in ("first_value", "last_value"):
        return _edge(over, args[0], name, _frame(stage, spec, bool(over.keys)))
    if spec is not None and name not in ("lag", "lead"):
        raise stage.query.fail(spec, f"{name} takes no frame")
    if name == "row_number":
        return over.row_number()
    if name in ("lag", "lead"):
        return over.along(_shifted(stage, call, args, 1 if name == "lag" else -1))
    if not over.keys:
        return over.along(_ones())
    number = over.row_number()
    first = over.within(Call("min", (number,)), over.keys)
    if name == "rank":
        return first
    is_first = over.stage.add("is_first", cast(Call("__eq__", (number, first)), pl.Int64))
    return over.along(Call("cum_sum", (is_first,)))


def _ones() -> Expr:
    return Call("__add__", (Call("__mul__", (Call("pl.int_range", (Lit(0), Call("pl.len", ()))), Lit(0))), Lit(1)))


def _shifted(stage: Stage, call: exp.Anonymous, args: list[Expr], sign: int) -> Expr:
    x = args[0] if args[0].columns else stage.add("constant", args[0])
    by = args[1] if len(args) > 1 else Lit(1)
    if not isinstance(by, Lit) or not isinstance(by.value, int):
        raise stage.query.fail(call.expressions[1], "the number of rows must be a constant")
    if len(args) < 3:
        return Call("shift", (x, by.value * sign))
    if not isinstance(args[2], Lit):
        raise stage.query.fail(call.expressions[2], "the default must be a constant")
    return Call("shift", (x, by.value * sign), (("fill_value", args[2]),))


def _edge(over: Over, x: Expr, name: str, frame: str | int) -> Expr:
    x = x if x.columns else over.stage.add("constant", x)
    if isinstance(frame, int):
        if name == "first_value":
            number = over.row_number()
            before = over.along(Call("shift", (x, frame)))
            first = over.along(Call("first", (x,)))
            return over.stage.add(over.wanted, when(Call("__gt__", (number, Lit(frame))), before, first))
        return x
    if name == "first_value" or frame == "all":
        return over.along(Call("first" if name == "first_value" else "last", (x,)))
    return x if frame == "rows" else over.of_last_peer(x, over.row_number())


def _running(over: Over, node: exp.Window, call: exp.Anonymous, frame: str | int) -> Expr:
    """An aggregate of the rows of the partition up to this one."""
    from robodf.sql.expressions import compile_expr, compile_predicate

    stage, name = over.stage, call.name.lower()
    if name not in _RUNNING:
        raise stage.query.fail(
            call, f"with ORDER BY, OVER takes {', '.join(_RUNNING)} and the window functions. {_ALL}"
        )
    items = call.expressions
    if items and isinstance(items[0], (exp.Distinct, exp.Order)):
        raise stage.query.fail(items[0], "DISTINCT and ORDER BY inside are not supported in a running aggregate")
    star = not items or isinstance(items[0], exp.Star)
    x: Expr = Lit(1) if star else compile_expr(stage, items[0])
    if isinstance(node.this, exp.Filter):
        x = when(compile_predicate(stage, node.this.expression.this), x, Lit(None))
    x = stage.add("value", x)
    dtype = stage.dtype(x)
    if name in ("sum", "avg", "mean"):
        if not dtype.is_numeric():
            raise stage.query.fail(call, f"{name} takes numbers, not {dtype}")
        x = cast(x, pl.Int64 if dtype.is_integer() and name == "sum" else pl.Float64)
    elif name != "count" and not (dtype.is_numeric() or dtype.is_temporal()):
        raise stage.query.fail(call, f"a running {name} takes numbers and times, not {dtype}")
    along = over.along(_moving(name, x, frame) if isinstance(frame, int) else _cumulative(name, x, dtype))
    if frame != "peers" or not over.keys:
        return along
    return over.of_last_peer(along, over.row_number())


def _cumulative(name: str, x: Expr, dtype: pl.DataType) -> Expr:
    known = Call("cum_sum", (cast(Call("is_not_null", (x,)), pl.Int64),))
    if name == "count":
        return known
    if name in ("min", "max"):
        best = Call("forward_fill", (Call(f"cum_{name}", (x,)),))
        if name == "max" and dtype.is_float():
            nan = Call("cum_max", (cast(Call("fill_null", (Call("is_nan", (x,)), Lit(False))), pl.Int64),))
            return when(Call("__eq__", (nan, Lit(1))), Lit(float("nan"), dtype), best)
        return best
    total = Call("cum_sum", (Call("fill_null", (x, Lit(0))),))
    if name != "sum":
        total = Call("__truediv__", (total, known))
    return when(Call("__gt__", (known, Lit(0))), total, Lit(None))


def _moving(name: str, x: Expr, before: int) -> Expr:
    options = (("window_size", before + 1), ("min_samples", 1))
    if name == "count":
        return Call("rolling_sum", (cast(Call("is_not_null", (x,)), pl.Int64),), options)
    fn = {"avg": "mean"}.get(name, name)
    return Call(f"rolling_{fn}", (x,), options)
