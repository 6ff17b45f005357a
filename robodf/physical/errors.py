"""What a query skipped: of its files, and of the rows that its functions were given."""

from __future__ import annotations

import polars as pl

from robodf.plan.base import Plan, plans

SCHEMA = {"file": pl.String, "topic": pl.String, "offset": pl.Int64, "time": pl.Datetime("ns"), "error": pl.String}


def skipped(plan: Plan) -> pl.DataFrame:
    """One row for each thing that was skipped in the runs so far, in the order of file and offset."""
    journals = [n.journal for n in plans(plan)]
    rows = [problem for journal in journals if journal is not None for problem in journal.problems]
    return (
        pl.DataFrame(rows, schema=SCHEMA, orient="row")
        .unique(maintain_order=True)
        .sort("file", "offset", nulls_last=True, maintain_order=True)
    )
