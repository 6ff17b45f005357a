"""Whether a query of this process uses its GPU: `engine="gpu"`, and what of it `engine="auto"` takes."""

from __future__ import annotations

import warnings

from robodf.config import check_engine, settings
from robodf.errors import DeviceError, DeviceWarning, listing, user_line
from robodf.gpu.cost import MARGIN
from robodf.gpu.facts import Facts, here
from robodf.gpu.translation import available
from robodf.physical.place import Placed, place
from robodf.physical.sizes import encoded_bytes, estimated_rows, row_bytes
from robodf.plan.base import Plan, parents_first
from robodf.plan.nodes.scan import Scan


def placed_here(optimized: Plan, engine: str | None = None) -> Placed | None:
    """The plan with what goes to the GPU of this process; None where none is asked for, or there is nothing to gain.

    With engine="gpu" DeviceError where there is no GPU to use, and a DeviceWarning where nothing of the plan can go
    there: then it runs on the CPU, as a query does that Polars is told to run on a GPU and cannot.
    """
    asked = check_engine(engine or settings().engine)
    if asked == "gpu":
        placed = place(optimized, _facts_or_error(), forced=True)
        if not placed.on_gpu:
            reasons = [f"{label}: {why}" for label, why in placed.stay]
            what = listing(reasons, 3) if reasons else "it has no operator but scans and rows in memory"
            where = user_line()
            warnings.warn(
                f'engine="gpu": nothing of the query can run on a GPU, so it runs on the CPU ({what})'
                + (f"\n  at {where}" if where else ""), DeviceWarning, stacklevel=2,
            )  # fmt: skip
        return placed
    if asked != "auto" or available() is not None:
        return None
    facts = here()
    return place(optimized, facts) if facts.device is not None and worth_asking(optimized, facts) else None


def _facts_or_error() -> Facts:
    facts = here()
    if facts.device is None:
        raise DeviceError(f'engine="gpu", but {facts.why}. engine="local" runs the same query on the CPU')
    return facts


def worth_asking(plan: Plan, facts: Facts) -> bool:
    """Whether all of a plan takes the CPU so long that a GPU could win by the margin, were its own work free.

    Asking cudf-polars takes longer than a small query does, and its first import about a second.
    """
    if facts.rates is None:
        return False
    rows = estimated_rows(plan)
    seconds = 0.0
    for n in parents_first(plan):
        size = rows[id(n)] * row_bytes(n.schema)
        if isinstance(n, Scan):
            size = encoded_bytes(tuple(n.source.splits(n.request)))
        moved = max([size, *(rows[id(i)] * row_bytes(i.schema) for i in n.inputs())])
        seconds += moved / (max(1, facts.cpus) * facts.rates.cpu[n.work])
    return seconds * (1 - MARGIN) > facts.rates.plan + (0.0 if facts.started else facts.rates.start)
