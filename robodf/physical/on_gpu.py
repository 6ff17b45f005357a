"""Whether a query of this process uses its GPU: `engine="gpu"`, and what of it `engine="auto"` takes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from robodf.config import engine_asked, settings
from robodf.errors import DeviceError, DeviceWarning, listing, user_line
from robodf.gpu.cost import MARGIN
from robodf.gpu.facts import Facts, here
from robodf.gpu.translation import available
from robodf.physical.place import Placed, place
from robodf.physical.sizes import estimated_rows, row_bytes
from robodf.plan.base import Plan, parents_first


def placed_here(optimized: Plan, engine: str | None = None) -> Placed | None:
    """The plan with what goes to the GPU of this process; None where none is asked for, or there is nothing to gain.

    With engine="gpu" or rd.config(gpu="always") DeviceError where there is no GPU to use, and a DeviceWarning where
    nothing of the plan can go there: then it runs on the CPU, as a query does that Polars is told to run on a GPU and
    cannot.
    """
    asked = engine_asked(engine)
    if asked == "gpu":
        said = _said(engine)
        placed = place(optimized, _facts_or_error(said), forced=True)
        if not placed.on_gpu:
            reasons = [f"{label}: {why}" for label, why in placed.stay] + [d.why for d in placed.decisions]
            what = listing(reasons, 3) if reasons else "it has no operator but rows in memory"
            where = user_line()
            warnings.warn(
                f"{said}: nothing of the query can run on a GPU, so it runs on the CPU ({what})"
                + (f"\n  at {where}" if where else ""), DeviceWarning, stacklevel=2,
            )  # fmt: skip
        return placed
    if asked != "auto" or available() is not None:
        return None
    facts = here()
    return place(optimized, facts) if facts.device is not None and worth_asking(optimized, facts) else None


def facts_asked(engine: str | None = None) -> tuple[Facts | None, bool]:
    """Of a query of this process in tasks: the GPU that they may use, if one is wanted, and whether it must be used.

    DeviceError where it must and there is none.
    """
    asked = engine_asked(engine)
    if asked == "gpu":
        return _facts_or_error(_said(engine)), True
    return (here() if asked == "auto" and available() is None else None), False


def placement(optimized: Plan, engine: str | None = None) -> tuple[Placed | None, str]:
    """For explain(): what `placed_here` would do, and a line on it. It raises and warns of nothing."""
    asked = engine_asked(engine)
    if asked not in ("gpu", "auto") or (asked == "auto" and available() is not None):
        return None, ""
    facts = here()
    if asked == "gpu":
        line = f"engine gpu: {_said(engine)} was asked for; {facts}\n"
        if available() is not None:
            return None, f'{line}the query cannot run so: engine="local" runs it on the CPU. The plan of that:\n'
        return place(optimized, facts, forced=True), line
    if facts.device is None or not worth_asking(optimized, facts):
        return None, "" if facts.device is None else f"engine local: too little work to be worth a GPU ({facts})\n"
    return place(optimized, facts), f"engine auto: {facts}\n"


def _said(engine: str | None) -> str:
    """By which words the user asked for the GPU."""
    return 'engine="gpu"' if (engine or settings().engine) == "gpu" else 'rd.config(gpu="always")'


def _facts_or_error(said: str) -> Facts:
    facts = here()
    if facts.device is None:
        raise DeviceError(f'{said}, but {facts.why}. engine="local" runs the same query on the CPU')
    return facts


def worth_asking(plan: Plan, facts: Facts, known: Mapping[int, float] | None = None) -> bool:
    """Whether all of a plan takes the CPU so long that a GPU could win by the margin, were its own work free.

    Asking cudf-polars takes longer than a small query does, and its first import about a second.
    """
    if facts.device is None or facts.rates is None:
        return False
    rows = estimated_rows(plan, known)
    seconds = 0.0
    for n in parents_first(plan):
        read = sum(rows[id(i)] * row_bytes(i.schema) for i in n.inputs() or (n,))
        seconds += read / (max(1, facts.cpus) * facts.rates.cpu[n.work])
    return seconds * (1 - MARGIN) > facts.rates.plan + (0.0 if facts.started else facts.rates.start)
