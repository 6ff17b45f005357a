"""LIKE, GLOB and regular expressions."""

from __future__ import annotations

import re

import polars as pl
from sqlglot import exp

from robodf.plan.expr import Call, Expr, Lit
from robodf.sql.stage import Stage


def matches(stage: Stage, node: exp.Expr, e: Expr, pattern: Expr) -> Expr:
    """`e LIKE pattern` and its kin; the pattern is a constant."""
    if isinstance(pattern, Lit) and pattern.value is None:
        return Lit(None, pl.Boolean())
    if not isinstance(pattern, Lit) or not isinstance(pattern.value, str):
        raise stage.query.fail(node, "the pattern must be a text constant")
    if stage.dtype(e) == pl.Null:
        return Lit(None, pl.Boolean())
    if stage.dtype(e) != pl.String:
        raise stage.query.fail(node, f"patterns go with texts, not {stage.dtype(e)}: cast it to VARCHAR")
    text = pattern.value
    if isinstance(node, exp.Like):
        return like(e, text)
    if isinstance(node, exp.ILike):
        return contains(stage, node, e, f"(?si)^{_like_regex(text)}$")
    if isinstance(node, exp.Glob):
        return contains(stage, node, e, f"(?s)^{_glob_regex(text)}$")
    if isinstance(node, exp.SimilarTo):
        return contains(stage, node, e, f"^(?:{text})$")
    return contains(stage, node, e, text)


def contains(stage: Stage, node: exp.Expr, e: Expr, pattern: str) -> Expr:
    """True where the regular expression matches somewhere."""
    checked(stage, node, pattern)
    return Call("str.contains", (e, pattern))


def checked(stage: Stage, node: exp.Expr, pattern: str) -> str:
    """The pattern, or SQLError where it is none."""
    try:
        pl.select(pl.lit("").str.contains(pattern))
    except pl.exceptions.PolarsError as error:
        said = next((line for line in str(error).splitlines() if line.startswith("error:")), "it cannot be read")
        raise stage.query.fail(node, f"{pattern!r} is no regular expression: {said.removeprefix('error: ')}") from None
    return pattern


def like(e: Expr, pattern: str) -> Expr:
    """The simplest test that says the same: sources can use comparisons and prefixes."""
    inner = pattern.strip("%")
    if not re.search("[%_]", pattern):
        return Call("__eq__", (e, Lit(pattern)))
    if inner and not re.search("[%_]", inner):
        if pattern == f"{inner}%":
            return Call("str.starts_with", (e, Lit(inner)))
        if pattern == f"%{inner}":
            return Call("str.ends_with", (e, Lit(inner)))
        if pattern == f"%{inner}%":
            return Call("str.contains", (e, Lit(inner)), (("literal", True),))
    return Call("str.contains", (e, f"(?s)^{_like_regex(pattern)}$"))


def _like_regex(pattern: str) -> str:
    return "".join({"%": ".*", "_": "."}.get(c) or re.escape(c) for c in pattern)


def _glob_regex(pattern: str) -> str:
    out, i = [], 0
    while i < len(pattern):
        c = pattern[i]
        close = pattern.find("]", i + 2) if c == "[" else -1
        if c == "*":
            out.append(".*")
        elif c == "?":
            out.append(".")
        elif close > 0:
            body = pattern[i + 1 : close]
            body = f"^{body[1:]}" if body.startswith("!") else body
            out.append(f"[{body.replace(chr(92), chr(92) * 2)}]")
            i = close
        else:
            out.append(re.escape(c))
        i += 1
    return "".join(out)
