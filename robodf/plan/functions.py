"""Interim: replaced by all of Polars' functions."""
from robodf.plan.expr import Col, Lit
from robodf.plan.expr import function as _f


def col(name, *more):
    return Col(name)


def lit(value, dtype=None):
    return Lit(value, dtype)


def len():
    return _f("len")


__all__ = ["col", "len", "lit"]
