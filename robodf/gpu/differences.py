"""Where cudf-polars translates a query and would yet give other rows than Polars: such a query stays on the CPU.

Each case is one that the sources of cudf-polars 26.10 show, or an open issue there. docs/gpu.md lists them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from robodf.gpu.nan_order import unsafe_comparisons

_TEXT_CASE = {"Lowercase", "Uppercase", "Titlecase"}


def differences(translated: Any) -> list[str]:
    """Why the translated query `translated` (cudf_polars.dsl.ir.IR) would not give the rows that Polars gives."""
    from cudf_polars.dsl.traversal import traversal  # pyright: ignore[reportMissingImports]

    found: dict[str, None] = {}
    for step in traversal([translated]):
        found.update(dict.fromkeys(_of_step(step)))
        for expression in _expressions(step):
            found.update(dict.fromkeys(unsafe_comparisons(_whole(expression, step))))
            for part in traversal([expression]):
                found.update(dict.fromkeys(_of_expression(part)))
    return list(found)


def _of_step(step: Any) -> Iterator[str]:
    kind = type(step).__name__
    if kind == "PythonScan":
        yield "its rows come from Python"
    elif kind == "MapFunction" and step.name == "explode":
        # Translated as explode_outer, whatever empty_as_null says.
        yield "explode gives a null row for an empty list on the GPU"
    elif kind == "Join":
        how, _, _, _, _, order = step.options
        if how in ("Semi", "Anti") and order != "none":
            yield f"a {how.lower()} join does not keep the order of the rows on the GPU"
        if how == "Cross" and order in ("right", "right_left"):
            yield "a cross join has the order of its left side on the GPU"
    elif kind == "Scan" and step.typ in ("csv", "ndjson"):
        if any(_is_float(dtype) for dtype in step.schema.values()):
            yield f"floats read from {step.typ} may differ in their last digit on the GPU"
    elif kind in ("GroupBy", "Rolling"):
        yield from _of_groups(step)


def _of_groups(step: Any) -> Iterator[str]:
    from cudf_polars.dsl.traversal import traversal  # pyright: ignore[reportMissingImports]

    for expression in _expressions(step):
        for part in traversal([expression]):
            if type(part).__name__ == "Agg" and part.name in ("min", "max") and _is_float(part.children[0].dtype):
                yield f"{part.name} of floats within groups does not pass over NaN on the GPU"


def _of_expression(part: Any) -> Iterator[str]:
    kind = type(part).__name__
    if kind == "Cast":
        before, after = part.children[0].dtype.polars_type, part.dtype.polars_type
        if before.is_integer() and after.is_integer() and not _holds(before, after):
            yield f"a cast from {before} to {after} wraps on the GPU where a number does not fit"
        if before.is_float() and after.is_integer():
            yield f"a cast from {before} to {after} does not look for what does not fit on the GPU"
        if before.is_float() and after.is_(_string()):
            yield "floats are written as text in another way on the GPU"
        if before.is_(_string()) and after.is_float():
            yield "floats read from text may differ in their last digit on the GPU"
    elif kind == "StringFunction" and part.name.name in _TEXT_CASE:
        yield "upper and lower case of some letters beyond ASCII differ on the GPU"


def _expressions(step: Any) -> Iterator[Any]:
    """The expressions that a step of the translated query holds itself."""
    from cudf_polars.dsl.expr import Expr, NamedExpr  # pyright: ignore[reportMissingImports]

    pending = [getattr(step, name) for name in step._non_child if hasattr(step, name)]
    while pending:
        value = pending.pop()
        if isinstance(value, NamedExpr):
            yield value.value
        elif isinstance(value, Expr):
            yield value
        elif isinstance(value, (tuple, list)):
            pending += value


def _whole(expression: Any, step: Any) -> Any:
    """The expression with what Polars computes once, in a column of its own, put where it is used."""
    from cudf_polars.dsl.expr import Col  # pyright: ignore[reportMissingImports]
    from cudf_polars.dsl.traversal import traversal  # pyright: ignore[reportMissingImports]
    from cudf_polars.dsl.utils.replace import replace  # pyright: ignore[reportMissingImports]

    made = {e.name: e.value for below in step.children if type(below).__name__ == "HStack" for e in below.columns}
    names = [part for part in traversal([expression]) if isinstance(part, Col) and part.name.startswith(_ONCE)]
    by = {part: made[part.name] for part in names if part.name in made}
    return replace([expression], by)[0] if by else expression


_ONCE = "__POLARS_CSER"


def _is_float(dtype: Any) -> bool:
    return dtype.polars_type.is_float()


def _string() -> Any:
    import polars as pl

    return pl.String


def _holds(narrow: Any, wide: Any) -> bool:
    """Whether every integer of one type is one of the other."""
    least, most = _range(narrow)
    low, high = _range(wide)
    return low <= least and most <= high


def _range(dtype: Any) -> tuple[int, int]:
    bits = int("".join(c for c in str(dtype) if c.isdigit()))
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if dtype.is_signed_integer() else (0, (1 << bits) - 1)
