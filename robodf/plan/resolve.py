"""From what a user typed in `select(...)` to one named expression per output column.

Wildcards, patterns and selectors are expanded against the schema, so that every later question about an expression
(which columns it reads, what it is called) has one answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from robodf.errors import QueryError, SchemaError, column_not_found
from robodf.plan.base import Schema
from robodf.plan.expr import Call, Col, Expr, Lit, Native, as_expr, substitute
from robodf.plan.node import walk
from robodf.plan.rowwise import ROWWISE
from robodf.plan.types import type_of

Named = tuple[tuple[str | tuple[str, ...], Expr], ...]
"""(output name, expression) pairs; a Polars expression with several outputs that stays whole has a tuple of names."""

# Functions whose arguments are a list of columns: a wildcard there adds arguments, not outputs.
_GATHERING = frozenset(
    """pl.struct pl.concat_str pl.concat_list pl.coalesce pl.sum_horizontal pl.min_horizontal pl.max_horizontal
    pl.mean_horizontal pl.all_horizontal pl.any_horizontal pl.format pl.concat_arr over sort_by top_k_by bottom_k_by
    struct.with_fields""".split()
)


def flatten(items: Iterable[Any]) -> list[Any]:
    """`select("a", ["b", "c"])` as one list."""
    flat: list[Any] = []
    for item in items:
        single = isinstance(item, (str, bytes, Expr, pl.Expr, Mapping, pl.Series))
        if isinstance(item, Iterable) and not single and not isinstance(getattr(item, "expr", None), Expr):
            flat.extend(flatten(item))
        else:
            flat.append(item)
    return flat


def resolve(items: Iterable[Any], named: Mapping[str, Any], schema: Schema, doing: str) -> Named:
    """Named expressions for `items` and `name=expression` pairs; duplicate names are an error."""
    out: list[tuple[str | tuple[str, ...], Expr]] = []
    for item in flatten(items):
        for e in expand(as_expr(item), schema, doing):
            out.append((output_name(e, schema), e))
    for name, value in named.items():
        parts = expand(as_expr(value), schema, doing)
        if len(parts) != 1:
            raise QueryError(f"{name}= in {doing} gives {len(parts)} columns; it must give one")
        out.append((name, parts[0]))
    seen: set[str] = set()
    for name in output_names(tuple(out)):
        if name in seen:
            raise SchemaError(f"{doing} gives two columns named {name!r}: rename one of them with .alias(...)")
        seen.add(name)
    return tuple(out)


def resolve_one(item: Any, schema: Schema, doing: str) -> Expr:
    """One expression with one output."""
    parts = expand(as_expr(item), schema, doing)
    if len(parts) != 1:
        raise QueryError(f"{doing} needs one column here, {item!r} gives {len(parts)}")
    return parts[0]


def resolve_predicate(item: Any, schema: Schema, doing: str = "filter") -> Expr:
    """One boolean expression; several outputs must all be true, as in Polars."""
    parts = expand(as_expr(item), schema, doing)
    if not parts:
        raise QueryError(f"{doing} has a predicate that matches no column: {item!r}")
    whole = parts[0]
    for part in parts[1:]:
        whole = Call("__and__", (whole, part))
    if isinstance(whole, Native) and whole.polars.meta.has_multiple_outputs():
        whole = Call("pl.all_horizontal", (whole,))
    try:
        dtype = type_of(whole, schema)
    except pl.exceptions.PolarsError as error:
        raise QueryError(f"{doing}: {whole!r}: {str(error).splitlines()[0]}") from error
    if dtype not in (pl.Boolean, pl.Null):
        raise SchemaError(f"{doing} takes conditions, but {whole!r} is {dtype}")
    return whole


def column_names(items: Iterable[Any], schema: Schema, doing: str) -> tuple[str, ...]:
    """Plain column names out of names, lists, selectors and `col(...)`."""
    names = []
    for item in flatten(items):
        for e in expand(as_expr(item), schema, doing):
            if not isinstance(e, Col):
                raise QueryError(f"{doing} takes column names, not the expression {e!r}")
            names.append(e.ref)
    return tuple(dict.fromkeys(names))


def output_name(e: Expr, schema: Schema) -> str | tuple[str, ...]:
    """The name that Polars gives the column; a tuple for a Polars expression with several outputs."""
    if isinstance(e, Col):
        return e.ref
    if e.polars.meta.has_multiple_outputs():
        return tuple(pl.LazyFrame(schema=schema).select(e.polars).collect_schema())
    return e.polars.meta.output_name()


def output_names(named: Named) -> list[str]:
    return [n for name, _ in named for n in ((name,) if isinstance(name, str) else name)]


def lowered(named: Named) -> list[pl.Expr]:
    """The pairs as Polars takes them."""
    return [e.polars if isinstance(name, tuple) else e.polars.alias(name) for name, e in named]


def expand(e: Expr, schema: Schema, doing: str) -> list[Expr]:
    """The expressions, one an output, that `e` stands for over `schema`; unknown columns are an error here."""
    if isinstance(e, Col) and e.ref in schema:
        return [e]
    if isinstance(e, Col) and not _is_pattern(e.ref):
        raise column_not_found(e.ref, schema, doing)
    if _selects_columns(e):
        return [Col(name) for name in _selected(e, schema, doing)]
    if isinstance(e, Call):
        return _expand_call(e, schema, doing)
    for name in e.columns:
        if name not in schema and not _is_pattern(name):
            raise column_not_found(name, schema, doing)
    return [e]


def _expand_call(call: Call, schema: Schema, doing: str) -> list[Expr]:
    spread = call.fn in _GATHERING
    args: list[list[Any]] = []
    for i, arg in enumerate(call.args):
        # A wildcard in the receiver of over() and its like gives outputs; in the rest it gives arguments.
        choices = _expand_value(arg, schema, doing, gather=spread and (call.fn.startswith("pl.") or i > 0))
        args.append(choices)
    options = []
    for name, value in call.options:
        options.append((name, _expand_value(value, schema, doing, gather=True)[0]))
    width = max((len(choices) for choices in args), default=1)
    if any(len(choices) not in (1, width) for choices in args):
        raise QueryError(f"{doing}: the wildcards in {call!r} stand for different numbers of columns")
    made = []
    for k in range(width):
        new = tuple(choices[k] if len(choices) == width else choices[0] for choices in args)
        same = all(a is b for a, b in zip(new, call.args))
        same = same and all(a is b for (_, a), (_, b) in zip(options, call.options))
        made.append(call if same else Call(call.fn, new, tuple(options)))
    return made


def _expand_value(value: Any, schema: Schema, doing: str, gather: bool) -> list[Any]:
    if isinstance(value, Expr):
        parts = expand(value, schema, doing)
        return [tuple(parts)] if gather and len(parts) != 1 else parts
    if isinstance(value, tuple) and any(isinstance(v, (Expr, tuple)) for v in value):
        flat: list[Any] = []
        for v in value:
            flat.extend(expand(v, schema, doing) if isinstance(v, Expr) else [v])
        same = len(flat) == len(value) and all(a is b for a, b in zip(flat, value))
        return [value if same else type(value)(flat)]
    return [value]


def _is_pattern(name: str) -> bool:
    return name == "*" or (name.startswith("^") and name.endswith("$"))


def _selects_columns(e: Expr) -> bool:
    """True of wildcards, patterns, `col("a", "b")`, `all()`, `exclude(...)` and selectors alone."""
    if isinstance(e, Col):
        return True
    if isinstance(e, Call):
        may = (e.fn.startswith("pl.") or e.fn == "exclude") and e.fn != "pl.when"
        return may and e.polars.meta.is_column_selection()
    return isinstance(e, Native) and e.polars.meta.is_column_selection()


def _selected(e: Expr, schema: Schema, doing: str) -> list[str]:
    try:
        return list(pl.LazyFrame(schema=schema).select(e.polars).collect_schema())
    except pl.exceptions.ColumnNotFoundError as error:
        missing = str(error).split("\n")[0].strip("'\" ")
        for name in e.polars.meta.root_names():
            if name not in schema and not _is_pattern(name):
                missing = name
        raise column_not_found(missing, schema, doing) from None


def inline(e: Expr, by: Mapping[str, Expr], schema: Schema) -> Expr | None:
    """`e` over the input of a projection to `schema`: each column replaced by what defines it in `by`.

    None where that would mean something else.
    """
    if isinstance(e, Col):
        return by.get(e.ref, e)
    if not e.transparent:
        return None
    named = any(isinstance(n, Call) and (n.fn not in ROWWISE or "struct" in n.fn) for n in walk(e))
    table: dict[str, Expr] = {}
    for name in e.columns & by.keys():
        new = by[name]
        if not new.columns and not isinstance(e, Col):
            # A constant is one value, not a column of it: sum() and shift() tell the difference. And a bare number
            # takes its type from what stands next to it, which a column does not.
            if not isinstance(new, Lit) or not e.rowwise:
                return None
            if new.dtype is None and isinstance(new.value, (int, float)):
                new = Lit(new.value, schema[name])
        if named and output_name(new, schema) != name:
            new = Call("alias", (new, name))  # struct() and its like name their fields after the columns
        table[name] = new
    return substitute(e, table)
