"""One dedup in place of two on each other."""

from __future__ import annotations

from robodf.plan.base import Plan
from robodf.plan.nodes.dedup import Dedup


def merge_dedups(plan: Plan) -> Plan | None:
    """Drop a dedup that is asked again of the rows that it left.

    Before::

        Dedup on caption, keep first: exact ...
          Dedup on caption, keep first: exact ...
            Scan episodes.parquet

    After::

        Dedup on caption, keep first: exact ...
          Scan episodes.parquet

    Not where a row is compared with the best rows of a key alone: once some of these are gone, others take their place.
    And not of different methods: an exact dedup under a fuzzy one drops copies of texts without a word, which have
    nothing that the fuzzy one could compare.
    """
    if not isinstance(plan, Dedup) or not isinstance(plan.input, Dedup):
        return None
    below = plan.input
    if plan.apart or below.apart or plan.clusters or below.clusters:
        return None
    if plan.how.whole or plan.how.method.cap is not None:
        return None
    if plan.how != below.how or not plan.how.lazy or plan.value is not below.value:
        return None
    ours, theirs = (*plan.within, *plan.rank, *plan.against), (*below.within, *below.rank, *below.against)
    if len(ours) != len(theirs) or any(a is not b for a, b in zip(ours, theirs)):
        return None
    return plan.replace(input=below.input)
