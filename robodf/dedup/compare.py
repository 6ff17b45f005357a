"""How similar two rows are that a method holds: one name for all methods, chosen by the type of what is held.

A method gives an implementation of both for its own NamedTuple by `numba.extending.overload`; kernels that compare
(`walk.py`) are compiled once for each.
"""

from __future__ import annotations

from typing import Any


def load(held: Any, a: int) -> None:
    """Make ready to compare row number `a` with others; what that needs to keep lies in arrays of `held`."""
    raise NotImplementedError("only inside compiled code")


def probe(held: Any, a: int, b: int, least: float) -> float:
    """The similarity of row `a`, which was loaded last, and row `b`; -1.0 as soon as it is certain to be below `least`.

    The same for (a, b) and (b, a), bit for bit, and whatever the other rows are.
    """
    raise NotImplementedError("only inside compiled code")
