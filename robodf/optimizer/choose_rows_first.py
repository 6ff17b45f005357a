"""What a dedup compares is read alone first; the other columns are read for the rows that stay."""

from __future__ import annotations

from robodf.plan.base import Plan, plans
from robodf.plan.nodes.dedup import Dedup
from robodf.plan.nodes.fetch import Fetch
from robodf.plan.nodes.scan import Scan
from robodf.plan.nodes.unique import Unique


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

    Of much more bytes, so many that one row of each kind may not fit into memory, `dedup()` of all columns and
    `drop_duplicates` become such a dedup too.
    """
    if isinstance(plan, Unique):
        whole = plan.by_keys() if plan.input.read_again and (_bytes(plan.input) or 0) >= MUCH else None
        return None if whole is None else whole.replace(apart=(whole.light(),))
    if not isinstance(plan, Dedup) or plan.apart or not plan.input.read_again:
        return None
    size = _bytes(plan.input)
    return plan.replace(apart=(plan.light(),)) if size is None or size >= FEW else None


def _bytes(plan: Plan) -> int | None:
    """The bytes of files that a plan reads, None where they are not known."""
    sizes = [_size(n) for n in plans(plan) if isinstance(n, (Scan, Fetch))]
    return None if None in sizes else sum(size or 0 for size in sizes)


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

MUCH = 1 << 30
"""Bytes of files of which one row of each kind is better not held: reading them two or three times takes longer."""
