"""Plans placed without a GPU: facts that are given, and fragments that Polars runs in its stead."""

from __future__ import annotations

import polars as pl

from robodf.compat import run
from robodf.gpu.facts import Facts
from robodf.gpu.running import Ways
from robodf.optimizer import optimize
from robodf.physical.place import Placed, place
from robodf.plan.base import Plan, lower_all, tree

NOBODY = Facts(None, None, 16, "there is no GPU here")

PRETENDED: Ways = (("GPU", run),)
"""A GPU that Polars plays."""


def all_of_polars(query: pl.LazyFrame) -> list[str]:
    """As if a GPU could run all that Polars itself does, and nothing that is written in Python."""
    text = query.explain(optimized=False)
    return ["it is in Python"] if "PYTHON SCAN" in text or ".map(" in text or "python" in text.lower() else []


def forced(plan: Plan, facts: Facts) -> Placed:
    """The optimized plan with all that may go on the GPU that Polars plays."""
    return place(optimize(plan), facts, forced=True, ask=all_of_polars, ways=PRETENDED)


def rows_of(placed: Placed) -> pl.DataFrame:
    return run(lower_all(placed.plan))


def text_of(placed: Placed) -> str:
    """A placed plan: what stays, and below each OnDevice its fragment."""
    from robodf.physical.on_device import OnDevice

    def note(n: Plan) -> str:
        lines = tree(n.fragment.plan).splitlines() if isinstance(n, OnDevice) else []
        return "\n".join(f"| {line}" for line in lines)

    return tree(placed.plan, note)
