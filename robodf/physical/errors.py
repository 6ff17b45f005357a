"""What the sources of a query skipped."""

from __future__ import annotations

import polars as pl

from robodf.plan.base import Plan
from robodf.plan.node import walk
from robodf.plan.nodes.scan import Scan

SCHEMA = {"file": pl.String, "topic": pl.String, "offset": pl.Int64, "time": pl.Datetime("ns"), "error": pl.String}


def skipped(plan: Plan) -> pl.DataFrame:
    """One row for each thing that was skipped in the runs so far, in the order of file and offset."""
    rows = [problem for n in walk(plan) if isinstance(n, Scan) for problem in n.source.problems]
    return (
        pl.DataFrame(rows, schema=SCHEMA, orient="row")
        .unique(maintain_order=True)
        .sort("file", "offset", nulls_last=True, maintain_order=True)
    )
