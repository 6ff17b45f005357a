"""From the arguments of `dedup` to a method, or an error that says what to write instead."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from numbers import Real
from typing import Any

import polars as pl

from robodf.dedup.how import KEEPS, LINKS, Best
from robodf.errors import OptionError, SchemaError, hint
from robodf.plan.expr import Call, Expr

METHODS = ("exact", "fuzzy", "semantic", "phash", "trajectory")
THRESHOLDS = {"fuzzy": 0.8, "semantic": 0.9, "phash": 0.9, "trajectory": 0.95}


def asked(
    doing: str, method: Any, threshold: Any, keep: Any, link: Any, recall: Any, shingle: Any, normalize: Any, nulls: Any
) -> None:
    """OptionError for what no method takes, and for what this one does not."""
    if not _is_one_of(method, METHODS):
        raise OptionError(f"{doing}: method={method!r}{hint(str(method), METHODS)}: one of {', '.join(METHODS)}")
    if not isinstance(keep, Best) and not _is_one_of(keep, KEEPS):
        raise OptionError(f"{doing}: keep={keep!r}: 'first', 'last', 'none', or rd.best(column)")
    if not _is_one_of(link, LINKS):
        raise OptionError(f"{doing}: link={link!r}: 'representative' or 'component'")
    if not _is_one_of(nulls, ("keep", "equal")):
        raise OptionError(f"{doing}: nulls={nulls!r}: 'keep' or 'equal'")
    if nulls == "equal" and method != "exact":
        raise OptionError(f"{doing}: nulls='equal' is for method='exact'; {method} has nothing to compare in a null")
    if normalize is not None and not _is_one_of(normalize, ("text",)):
        raise OptionError(f"{doing}: normalize={normalize!r}: 'text' or None; for another, give on= an expression")
    for name, value, methods in (
        ("threshold", threshold, METHODS[1:]),
        ("recall", recall, ("fuzzy", "semantic")),
        ("shingle", shingle, ("fuzzy",)),
    ):
        if value is not None and method not in methods:
            raise OptionError(f"{doing}: {name}= means nothing to method={method!r}")
    for name, value in (("threshold", threshold), ("recall", recall)):
        number = isinstance(value, Real) and not isinstance(value, bool)  # NumPy's too
        if value is not None and not (number and 0 < float(value) <= 1):
            raise OptionError(f"{doing}: {name}={value!r}: a number above 0 and at most 1")


def method_of(
    doing: str, method: str, value: Expr, dtype: pl.DataType, threshold: float | None, recall: float | None,
    shingle: Any, normalize: str | None, nulls: str, *, whole: bool,
) -> tuple[Expr, Any]:  # fmt: skip
    """What is compared, and the method. SchemaError where the column is of another type."""
    least = THRESHOLDS.get(method, 1.0) if threshold is None else float(threshold)
    if method == "exact":
        from robodf.dedup.exact import Exact

        return value, Exact(lone=nulls == "keep" and not whole)
    import robodf.dedup.compiled  # noqa: F401 - without numba it says what to install, before anything runs

    if dtype == pl.Null:  # nulls alone: of no type as yet, and like no other
        dtype = {"fuzzy": pl.String(), "phash": pl.UInt64()}.get(method, pl.List(pl.Float64()))
        value = Call("cast", (value, dtype))
    if method == "fuzzy":
        from robodf.dedup.fuzzy import Fuzzy
        from robodf.dedup.shingles import Chars

        if isinstance(dtype, (pl.Categorical, pl.Enum)):
            value, dtype = Call("cast", (value, pl.String())), pl.String()
        _must(doing, method, value, dtype, isinstance(dtype, pl.String), "a text")
        return value, Fuzzy(least, 0.99 if recall is None else float(recall), shingle or Chars(5), normalize)
    if method == "semantic":
        from robodf.dedup.semantic import Semantic

        inner = getattr(dtype, "inner", None)
        fits = isinstance(dtype, (pl.List, pl.Array)) and inner is not None and (inner.is_float() or inner.is_integer())
        _must(doing, method, value, dtype, fits, "a list of numbers: df.embed(column, model) makes one")
        return value, Semantic(least, 0.99 if recall is None else float(recall))
    if method == "phash":
        from robodf.dedup.hamming import Phash
        from robodf.dedup.phash import phash

        if dtype != pl.UInt64:
            fields = {f.name: f.dtype for f in dtype.fields} if isinstance(dtype, pl.Struct) else {}
            fits = dtype == pl.Binary or fields.get("data") == pl.Binary
            _must(doing, method, value, dtype, fits, "the bytes of an image, an Image message, or a hash (UInt64)")
            if importlib.util.find_spec("PIL") is None:
                raise ImportError(f"{doing}: method='phash' of images needs Pillow: pip install 'robodf[images]'")
            value = phash(value)
        return value, Phash(least)
    from robodf.dedup.trajectory import Trajectory, is_trajectory

    _must(doing, method, value, dtype, is_trajectory(dtype), "a list of states (numbers, or lists of numbers)")
    return value, Trajectory(least)


_CROWD = 1024
"""With how many rows of a key one is compared where all pairs are asked for: 64 found three quarters of those among
12,000 captions of a few templates, 1,024 nearly all, in the same time."""


def of_all_pairs(method: Any) -> Any:
    """The method where it is not enough that a row finds one like it."""
    return method if getattr(method, "cap", None) is None else replace(method, cap=_CROWD)


def _is_one_of(value: Any, names: tuple[str, ...]) -> bool:
    return isinstance(value, str) and value in names  # an expression has no truth value


def _must(doing: str, method: str, value: Expr, dtype: pl.DataType, fits: bool, what: str) -> None:
    if not fits:
        raise SchemaError(f"{doing}: method={method!r} compares {what}, but {value!r} is {dtype}")
