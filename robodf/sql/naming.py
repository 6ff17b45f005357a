"""The names of columns that have none, as DuckDB makes them from the expression."""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

_BINARY = {
    exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.IntDiv: "//", exp.Mod: "%", exp.Pow: "^", exp.EQ: "=",
    exp.NEQ: "!=", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=", exp.And: "AND", exp.Or: "OR",
    exp.DPipe: "||", exp.Is: "IS", exp.NullSafeEQ: "IS NOT DISTINCT FROM", exp.NullSafeNEQ: "IS DISTINCT FROM",
    exp.Like: "~~", exp.ILike: "~~*", exp.Glob: "~~~",
}  # fmt: skip


def text_of(node: exp.Expr) -> str:
    """The text of an expression: `sum(a)`, `(a + 1)`, `count_star()`."""
    if isinstance(node, exp.Paren):
        return text_of(node.this)
    if isinstance(node, (exp.Column, exp.Dot)):
        return node.name if isinstance(node, exp.Column) else node.expression.name
    if isinstance(node, exp.Anonymous):
        return _call(node)
    if isinstance(node, exp.Filter):
        return f"{text_of(node.this)} FILTER (WHERE {text_of(node.expression.this)})"
    if isinstance(node, exp.Distinct):
        return f"DISTINCT {_all(node.expressions)}"
    if type(node) in _BINARY:
        symbol = _BINARY[type(node)]
        if node.args.get("negate"):
            symbol = f"!{symbol}"
        return f"({text_of(node.this)} {symbol} {text_of(node.args['expression'])})"
    if isinstance(node, exp.Neg):
        return f"-{node.this.name}" if isinstance(node.this, exp.Literal) else f"(-({text_of(node.this)}))"
    if isinstance(node, exp.Not):
        inner = node.this
        if isinstance(inner, exp.Is) and isinstance(inner.expression, exp.Null):
            return f"({text_of(inner.this)} IS NOT NULL)"
        return f"(NOT {text_of(inner)})"
    if isinstance(node, exp.Between):
        return f"({text_of(node.this)} BETWEEN {text_of(node.args['low'])} AND {text_of(node.args['high'])})"
    if isinstance(node, exp.In) and node.args.get("query") is None:
        return f"({text_of(node.this)} IN ({_all(node.expressions)}))"
    if isinstance(node, (exp.Cast, exp.TryCast)):
        word = "TRY_CAST" if isinstance(node, exp.TryCast) else "CAST"
        return f"{word}({text_of(node.this)} AS {_type(node.to)})"
    if isinstance(node, exp.Extract):
        return f"date_part('{node.name}', {text_of(node.expression)})"
    if isinstance(node, exp.Window):
        return f"{text_of(node.this).replace('count_star()', 'count()')} OVER ({_over(node)})"
    if isinstance(node, exp.Bracket):
        return f"{text_of(node.this)}[{_all(node.expressions)}]"
    if isinstance(node, exp.Array):
        return f"list_value({_all(node.expressions)})"
    if isinstance(node, exp.RegexpLike):
        return f"regexp_matches({text_of(node.this)}, {text_of(node.expression)})"
    if isinstance(node, exp.Boolean):
        return "true" if node.this else "false"
    if isinstance(node, exp.Literal):
        return f"'{node.name}'" if node.is_string else node.name
    return node.sql(dialect="duckdb")


def _type(node: exp.DataType) -> str:
    return {"INT": "INTEGER", "TEXT": "VARCHAR"}.get(node.sql(dialect="duckdb"), node.sql(dialect="duckdb"))


def _all(nodes: Iterable[exp.Expr]) -> str:
    return ", ".join(text_of(n) for n in nodes)


def _call(node: exp.Anonymous) -> str:
    name, args = node.name.lower(), node.expressions
    if name == "count" and (not args or isinstance(args[0], exp.Star)):
        return "count_star()"
    if name == "coalesce":
        name = "COALESCE"
    return f"{name}({_all(args)})"


def _over(node: exp.Window) -> str:
    parts = []
    if node.args.get("alias"):
        parts.append(node.args["alias"].name)
    if node.args.get("partition_by"):
        parts.append(f"PARTITION BY {_all(node.args['partition_by'])}")
    if node.args.get("order"):
        keys = [text_of(o.this) + (" DESC" if o.args.get("desc") else "") for o in node.args["order"].expressions]
        parts.append(f"ORDER BY {', '.join(keys)}")
    if node.args.get("spec"):
        parts.append(node.args["spec"].sql(dialect="duckdb").upper())
    return " ".join(parts)


def distinct_names(names: Iterable[str]) -> list[str]:
    """`a, a` as `a, a_1`."""
    out: list[str] = []
    for wanted in names:
        name, n = wanted, 1
        while name in out:
            name, n = f"{wanted}_{n}", n + 1
        out.append(name)
    return out
