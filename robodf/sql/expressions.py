"""SQL expressions as robodf's: columns, constants, operators, CASE, casts. Functions are in functions.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import polars as pl
from sqlglot import exp

from robodf.plan.expr import Call, Col, Expr, Lit
from robodf.sql import operators, patterns, types
from robodf.sql.stage import Field, Stage

Handler = Callable[[Stage, Any], Expr]
_HANDLERS: dict[type, tuple[Handler, tuple[str, ...]]] = {}


def handles(*kinds: type, args: str = "this expression") -> Callable[[Handler], Handler]:
    """Registers what makes an expression of a node; `args` are the parts of the node that it reads."""

    def register(handler: Handler) -> Handler:
        for kind in kinds:
            _HANDLERS[kind] = (handler, tuple(args.split()))
        return handler

    return register


def compile_expr(stage: Stage, node: exp.Expr) -> Expr:
    """The expression of `node` over the plan of `stage`; SQLError, with the place, where there is none."""
    if id(node) in stage.memo:
        return stage.memo[id(node)]
    computed = _computed_below(stage, node)
    if computed is not None:
        made = computed
    else:
        if type(node) not in _HANDLERS:
            raise stage.query.fail(node, f"{_described(node)} is not supported here")
        handler, args = _HANDLERS[type(node)]
        stage.query.check_args(node, args)
        made = handler(stage, node)
        try:
            stage.dtype(made)
        except pl.exceptions.PolarsError as error:
            raise stage.query.fail(node, str(error).splitlines()[0]) from error
    stage.memo[id(node)] = made
    return made


def compile_predicate(stage: Stage, node: exp.Expr) -> Expr:
    """A condition."""
    return operators.as_condition(stage, node, compile_expr(stage, node))


def _described(node: exp.Expr) -> str:
    return f"{type(node).__name__}" if not isinstance(node, exp.Query) else "a query"


def _computed_below(stage: Stage, node: exp.Expr) -> Expr | None:
    """After GROUP BY: the column that holds this expression already, where it is a key."""
    if stage.below is None or isinstance(node, (exp.Literal, exp.Boolean, exp.Null)) or not is_plain(node):
        return None
    if isinstance(node, exp.Column) and stage.below.find(node.parts) is None:  # type: ignore[arg-type]
        return None  # an alias of something that holds aggregates
    below = compile_expr(stage.below, node)
    found = stage.known.get(id(below))
    return Col(found[1]) if found else None


def is_plain(node: exp.Expr) -> bool:
    """True where the node holds no aggregate, window or subquery."""
    from robodf.sql.aggregates import is_aggregate

    return not any(isinstance(n, (exp.Window, exp.Query)) or is_aggregate(n) for n in node.walk())


# -- columns and constants ------------------------------------------------------------------------------------


@handles(exp.Column, args="this table db catalog")
def _column(stage: Stage, node: exp.Column) -> Expr:
    return reference(stage, list(node.parts), node)  # type: ignore[arg-type]


@handles(exp.Dot)
def _dot(stage: Stage, node: exp.Dot) -> Expr:
    base = node.this
    while isinstance(base, exp.Dot):
        base = base.this
    if isinstance(base, exp.Column):
        return reference(stage, list(node.parts), node)  # type: ignore[arg-type]
    if not isinstance(node.expression, exp.Identifier):
        raise stage.query.fail(node.expression, "this is not supported after a dot")
    return _field(stage, compile_expr(stage, node.this), node.expression, node.expression.name)


def reference(stage: Stage, parts: list[exp.Identifier], node: exp.Expr) -> Expr:
    """A column by its dotted name, an alias of the SELECT list, or what a struct column holds."""
    if any(isinstance(p, exp.Star) for p in parts):
        raise stage.query.fail(node, "* stands alone in the SELECT list or in count(*)")
    found = stage.find(parts) if stage.below is None else _grouped(stage, parts)
    if found is None:
        return _alias(stage, parts)
    field, rest = found
    e: Expr = Col(field.ref)
    for part, name in zip(parts[len(parts) - len(rest) :], rest):
        e = _field(stage, e, part, name)
    return e


def _grouped(stage: Stage, parts: list[exp.Identifier]) -> tuple[Field, list[str]] | None:
    below = stage.below
    assert below is not None
    found = below.find(parts)
    if found is None:
        return None
    key = stage.known.get(id(Col(found[0].ref)))
    if key is None:
        name = ".".join(p.name for p in parts)
        if name.lower() in stage.aliases:
            return None
        raise stage.query.fail(
            parts[-1], f"{name!r} is neither in GROUP BY nor inside of an aggregate such as any_value()"
        )
    return Field(None, found[0].name, key[1]), found[1]


def _alias(stage: Stage, parts: list[exp.Identifier]) -> Expr:
    name = parts[0].name.lower()
    if name not in stage.aliases or name in stage.open_aliases:
        outer = stage.env.outer
        if outer is not None and outer.find(parts) is not None:
            raise stage.query.fail(parts[-1], "a column of the query around it is supported in EXISTS and IN "
                                   "subqueries, as inner = outer in their WHERE: write a join instead")  # fmt: skip
        from robodf.sql.functions import NEVER, never

        if name in NEVER:
            raise never(stage, parts[0], name)
        raise (stage.below or stage).unknown(parts)
    stage.open_aliases.append(name)
    try:
        e = compile_expr(stage, stage.aliases[name])
    finally:
        stage.open_aliases.pop()
    for part in parts[1:]:
        e = _field(stage, e, part, part.name)
    return e


def _field(stage: Stage, e: Expr, node: exp.Expr, name: str) -> Expr:
    dtype = stage.dtype(e)
    if not isinstance(dtype, pl.Struct):
        raise stage.query.fail(node, f"{name!r} is read from a value of type {dtype}; only structs have fields")
    names = [f.name for f in dtype.fields]
    matching = [n for n in names if n == name] or [n for n in names if n.lower() == name.lower()]
    if len(matching) != 1:
        from robodf.sql.errors import missing

        raise stage.query.fail(node, missing("field", name, names, "Fields"))
    return Call("struct.field", (e, matching[0]))


@handles(exp.Literal, args="this is_string")
def _literal(stage: Stage, node: exp.Literal) -> Expr:
    return Lit(literal_value(node))


def literal_value(node: exp.Literal) -> Any:
    """The Python value of a literal: text, int or float."""
    text = node.name
    if node.is_string:
        return text
    digits = text.replace("_", "")
    try:
        return int(digits)
    except ValueError:
        try:
            return float(Decimal(digits))
        except InvalidOperation:
            return float(digits)


@handles(exp.Boolean, args="this")
def _boolean(stage: Stage, node: exp.Boolean) -> Expr:
    return Lit(bool(node.this))


@handles(exp.Null, args="")
def _null(stage: Stage, node: exp.Null) -> Expr:
    return Lit(None)


@handles(exp.Paren, args="this")
def _paren(stage: Stage, node: exp.Paren) -> Expr:
    return compile_expr(stage, node.this)


# -- operators ------------------------------------------------------------------------------------------------


@handles(exp.And, exp.Or)
def _logic(stage: Stage, node: exp.Connector) -> Expr:
    a, b = compile_predicate(stage, node.this), compile_predicate(stage, node.expression)
    return Call("__and__" if isinstance(node, exp.And) else "__or__", (a, b))


@handles(exp.Not, args="this")
def _not(stage: Stage, node: exp.Not) -> Expr:
    return operators.negated(compile_predicate(stage, node.this))


_ARITHMETIC = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.IntDiv: "//", exp.Mod: "%", exp.Pow: "^"}


@handles(*_ARITHMETIC, args="this expression typed safe")
def _arithmetic(stage: Stage, node: exp.Binary) -> Expr:
    return operators.arithmetic(stage, node, _ARITHMETIC[type(node)])


@handles(exp.Neg, args="this")
def _negative(stage: Stage, node: exp.Neg) -> Expr:
    e = compile_expr(stage, node.this)
    if isinstance(e, Lit) and isinstance(e.value, (int, float)) and e.dtype is None:
        return Lit(-e.value)
    dtype = stage.dtype(e)
    if dtype == pl.Null:
        return e
    if not (dtype.is_numeric() or isinstance(dtype, pl.Duration)):
        raise stage.query.fail(node, f"- takes a number, not {dtype}")
    return Call("__neg__", (operators.widened(stage, e),))


_COMPARE = {exp.EQ: "__eq__", exp.NEQ: "__ne__", exp.LT: "__lt__", exp.LTE: "__le__", exp.GT: "__gt__",
            exp.GTE: "__ge__", exp.NullSafeEQ: "eq_missing", exp.NullSafeNEQ: "ne_missing"}  # fmt: skip


@handles(*_COMPARE)
def _compare(stage: Stage, node: exp.Binary) -> Expr:
    a, b = compile_expr(stage, node.this), compile_expr(stage, node.expression)
    return operators.compared(stage, node, _COMPARE[type(node)], a, b)


@handles(exp.Is)
def _is(stage: Stage, node: exp.Is) -> Expr:
    e = compile_expr(stage, node.this)
    if isinstance(node.expression, exp.Null):
        return Call("is_null", (e,))
    if isinstance(node.expression, exp.Boolean):
        return Call("eq_missing", (operators.as_condition(stage, node.this, e), Lit(bool(node.expression.this))))
    raise stage.query.fail(node.expression, "IS takes NULL, TRUE, FALSE or DISTINCT FROM")


@handles(exp.Between, args="this low high symmetric negate")
def _between(stage: Stage, node: exp.Between) -> Expr:
    e, low, high = (compile_expr(stage, node.args[k]) for k in ("this", "low", "high"))

    def within(a: Expr, b: Expr) -> Expr:
        above = operators.compared(stage, node, "__ge__", e, a)
        return Call("__and__", (above, operators.compared(stage, node, "__le__", e, b)))

    made = within(low, high)
    if node.args.get("symmetric"):
        made = Call("__or__", (made, within(high, low)))
    return operators.negated(made) if node.args.get("negate") else made


@handles(exp.In, args="this expressions query negate")
def _in(stage: Stage, node: exp.In) -> Expr:
    if node.args.get("query") is not None:
        from robodf.sql.subqueries import in_subquery

        made = in_subquery(stage, node)
    else:
        e = compile_expr(stage, node.this)
        made = operators.is_in(stage, node, e, [compile_expr(stage, v) for v in node.expressions])
    return operators.negated(made) if node.args.get("negate") else made


@handles(exp.Exists, args="this")
def _exists(stage: Stage, node: exp.Exists) -> Expr:
    from robodf.sql.subqueries import exists

    return exists(stage, node)


@handles(exp.Subquery, args="this")
def _scalar(stage: Stage, node: exp.Subquery) -> Expr:
    from robodf.sql.subqueries import scalar

    return scalar(stage, node)


@handles(exp.Like, exp.ILike, exp.Glob, exp.RegexpLike, exp.SimilarTo, args="this expression negate")
def _matches(stage: Stage, node: exp.Binary) -> Expr:
    made = patterns.matches(stage, node, compile_expr(stage, node.this), compile_expr(stage, node.expression))
    return operators.negated(made) if node.args.get("negate") else made


@handles(exp.DPipe, args="this expression safe")
def _concat(stage: Stage, node: exp.DPipe) -> Expr:
    a, b = compile_expr(stage, node.this), compile_expr(stage, node.expression)
    if isinstance(stage.dtype(a), pl.List) or isinstance(stage.dtype(b), pl.List):
        return Call("list.concat", (a, b))
    return Call("__add__", (operators.as_text(stage, node.this, a), operators.as_text(stage, node.expression, b)))


# -- CASE, casts, nested values -------------------------------------------------------------------------------


@handles(exp.Case, args="this ifs default")
def _case(stage: Stage, node: exp.Case) -> Expr:
    subject = None if node.this is None else compile_expr(stage, node.this)
    conditions, values = [], []
    for branch in node.args["ifs"]:
        if subject is None:
            conditions.append(compile_predicate(stage, branch.this))
        else:
            conditions.append(operators.compared(stage, branch, "__eq__", subject, compile_expr(stage, branch.this)))
        values.append(compile_expr(stage, branch.args["true"]))
    default = node.args.get("default")
    values.append(Lit(None) if default is None else compile_expr(stage, default))
    *values, last = operators.alike(stage, node, values)
    return Call("pl.when", (*(part for pair in zip(conditions, values) for part in pair), last))


@handles(exp.If, args="this true false")
def _if(stage: Stage, node: exp.If) -> Expr:
    otherwise = node.args.get("false")
    default = Lit(None) if otherwise is None else compile_expr(stage, otherwise)
    chosen, default = operators.alike(stage, node, [compile_expr(stage, node.args["true"]), default])
    return Call("pl.when", (compile_predicate(stage, node.this), chosen, default))


@handles(exp.Cast, exp.TryCast, args="this to safe")
def _cast(stage: Stage, node: exp.Cast) -> Expr:
    typed = _typed_literal(stage, node)
    if typed is not None:
        return typed
    return _cast_to(stage, node, compile_expr(stage, node.this), types.type_of(stage.query, node.to))


def _typed_literal(stage: Stage, node: exp.Cast) -> Expr | None:
    """`DATE '2024-01-01'::VARCHAR`: the parser puts the cast inside of the typed literal, DuckDB around it."""
    casts = [node]
    while isinstance(casts[-1].this, exp.Cast):
        casts.append(casts[-1].this)
    literal = casts[-1].this
    if len(casts) == 1 or not isinstance(literal, exp.Literal) or not literal.is_string:
        return None
    word = re.search(r"(\w+)\s*$", stage.query.text[: literal.meta.get("start", 0)])
    if word is None or not types.names_type(word.group(1)):
        return None
    e = compile_expr(stage, literal)
    for one in (casts[0], *reversed(casts[1:])):
        e = _cast_to(stage, one, e, types.type_of(stage.query, one.to))
    return e


def _cast_to(stage: Stage, node: exp.Cast, e: Expr, want: pl.DataType) -> Expr:
    have, strict = stage.dtype(e), not isinstance(node, exp.TryCast)
    made = types.cast(e, have, want, strict)
    if made is None and isinstance(e, Lit) and isinstance(e.value, str):
        raise stage.query.fail(node.this, f"{e.value!r} cannot be read as {want}")
    if made is None:
        raise stage.query.fail(node, f"{have} cannot be cast to {want}")
    if isinstance(made, Lit) and made.dtype is None and made.value is not None and not isinstance(made.value, str):
        return Lit(made.value, want)
    return made


@handles(exp.Extract)
def _extract(stage: Stage, node: exp.Extract) -> Expr:
    from robodf.sql.times import part

    return part(stage, node, node.name, compile_expr(stage, node.expression))


@handles(exp.Interval, args="this unit")
def _interval(stage: Stage, node: exp.Interval) -> Expr:
    from robodf.sql.times import interval

    return interval(stage, node)


@handles(exp.Bracket, args="this expressions")
def _bracket(stage: Stage, node: exp.Bracket) -> Expr:
    e, index = compile_expr(stage, node.this), node.expressions[0]
    dtype = stage.dtype(e)
    if isinstance(dtype, pl.Struct) and isinstance(index, exp.Literal) and index.is_string:
        return _field(stage, e, index, index.name)
    if isinstance(index, exp.Slice) or len(node.expressions) != 1:
        raise stage.query.fail(node, "slices such as l[1:2] are not supported: use list_slice(l, 1, 2)")
    return operators.element(stage, node, e, compile_expr(stage, index))


@handles(exp.Struct, args="expressions")
def _struct(stage: Stage, node: exp.Struct) -> Expr:
    named = []
    for item in node.expressions:
        if not isinstance(item, exp.PropertyEQ):
            raise stage.query.fail(item, "a struct is written {'name': value}")
        named.append(Call("alias", (compile_expr(stage, item.expression), item.name)))
    return Call("pl.struct", tuple(named))


@handles(exp.Array, args="expressions value_constructor")
def _array(stage: Stage, node: exp.Array) -> Expr:
    parts = [compile_expr(stage, e) for e in node.expressions]
    if not parts:
        raise stage.query.fail(node, "the empty list has no type")
    return operators.listed(stage, node, parts)


# -- calls ----------------------------------------------------------------------------------------------------


@handles(exp.Anonymous, args="this expressions")
def _call(stage: Stage, node: exp.Anonymous) -> Expr:
    from robodf.sql.aggregates import is_aggregate
    from robodf.sql.functions import call

    return _aggregate(stage, node) if is_aggregate(node) else call(stage, node)


@handles(exp.Filter)
def _aggregate(stage: Stage, node: exp.Expr) -> Expr:
    from robodf.sql.aggregates import aggregate, is_aggregate

    if not is_aggregate(node):
        raise stage.query.fail(node, "FILTER goes with an aggregate")
    if stage.below is None:
        raise stage.query.fail(node, f"an aggregate cannot stand in {stage.clause}")
    made = aggregate(stage.below, node)
    return Col(stage.known[id(made)][1])


@handles(exp.Window, args="this partition_by order spec alias over first")
def _window(stage: Stage, node: exp.Window) -> Expr:
    from robodf.sql.windows import window

    if stage.clause not in ("SELECT", "QUALIFY", "ORDER BY"):
        raise stage.query.fail(node, f"a window function cannot stand in {stage.clause}: use QUALIFY")
    return window(stage, node)
