"""What a dedup compares is read alone first; the other columns are read for the rows that stay."""

from __future__ import annotations

from robodf.plan.base import Plan, plans
from robodf.plan.nodes.dedup import Dedup
from robodf.plan.nodes.fetch import Fetch
from robodf.plan.nodes.scan import Scan


def choose_rows_first(plan: Plan) -> Plan | None:
    """Read the files twice rather than hold the rows.

    Before::

        Dedup on caption, keep first: exact: ...
          Scan episodes.parquet

    After (columns are pruned from both later)::

        Dedup on caption, keep first: exact: ...
          Scan episodes.parquet
          Select [__robodf_value=caption]
            Scan episodes.parquet

    Rows are known by their position, so it is done only where a second reading gives the same rows in the same order,
    and where the files have so many bytes that the rows are better not held. Where that is not so (little to read, a
    join, a user's function) the rows are held; so are light columns whose heavy ones are fetched late (`fetch_late`).
    """
    if not isinstance(plan, Dedup) or plan.apart or not plan.input.read_again:
        return None
    sizes = [_size(n) for n in plans(plan.input) if isinstance(n, (Scan, Fetch))]
    if None not in sizes and sum(size or 0 for size in sizes) < FEW:
        return None
    return plan.replace(apart=(plan.light(),))


def _size(scan: Scan | Fetch) -> int | None:
    """The bytes that a scan reads; of one whose heavy columns are fetched late, those of the others."""
    if isinstance(scan, Fetch):
        return None if scan.expected is None else scan.expected.fetched
    sizes = [split.bytes for split in scan.source.splits(scan.request)]
    if None in sizes:
        return None
    size = sum(size or 0 for size in sizes)
    heavy = tuple(name for name in scan.source.schema if name in scan.source.heavy) if scan.locator else ()
    late = scan.source.fetching(heavy, 0.0) if heavy else None
    return size if late is None or late.done != "read" else max(0, size - late.all)


FEW = 64 << 20
"""Bytes of files whose rows are held rather than read again."""
