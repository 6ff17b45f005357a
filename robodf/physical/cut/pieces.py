"""The leaves: a source in pieces of its splits, a frame in memory in pieces of its rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import polars as pl

from robodf.io.source import Split
from robodf.physical.cut.item import Cutter, Item, Place
from robodf.physical.exchange import Gather, Pieces
from robodf.physical.sizes import PACKED, row_bytes, scan_rows
from robodf.plan.base import Plan, plans
from robodf.plan.nodes.rows import Slice
from robodf.plan.nodes.scan import InMemory, Scan

_LEAST = 4 << 20  # bytes of files for which a task of its own pays


def pieces(cutter: Cutter, n: Plan, inputs: list[Item]) -> Item | None:
    """A scan in pieces of about equal size.

    Before::

        Scan mcap 40 files topic=/imu

    After::

        Pieces 12 of 40 recordings
          Scan mcap 40 files topic=/imu

    All of a recording is in one piece, so that what is grouped by it needs no shuffle. Only where there are fewer
    recordings than processors is one cut, unless that would have to be brought together again and a task can hold it.
    """
    if inputs:
        return None
    if isinstance(n, Scan):
        return _scan(cutter, n)
    if isinstance(n, InMemory) and isinstance(n.frame, pl.DataFrame):
        return in_memory(cutter, n, n.frame)
    rows = n.count()
    return cutter.item(n, Place(1), float(1 if rows is None else rows))


def splits_of(plan: Plan) -> dict[Scan, tuple[Split, ...]]:
    """What each scan of a plan will read."""
    return {n: tuple(n.source.splits(n.request)) for n in plans(plan) if isinstance(n, Scan)}


def _scan(cutter: Cutter, n: Scan) -> Item:
    splits = cutter.splits[n]
    rows = scan_rows(n, splits)
    found = _packed_by_key(cutter, n, splits, rows * row_bytes(n.schema))
    if found is not None:
        made, of, place = found
    else:
        made = _packed(cutter, splits)
        of, place = f"{len(splits):,} splits", Place(len(made))
    if len(made) <= 1:
        return cutter.item(n, Place(1), rows)
    item = cutter.item(Pieces(n, made, of), place, rows)
    if n.limit is None:
        return item
    # Each piece stops at the limit by its own rows; the first pieces that have enough are enough.
    first = cutter.item(Gather(item.plan, n.limit), Place(1), rows)
    return cutter.item(Slice(first.plan, 0, n.limit), Place(1), rows)


def _packed(cutter: Cutter, splits: tuple[Split, ...]) -> tuple[tuple[Split, ...], ...]:
    enough = _enough(cutter, sum(s.bytes or 0 for s in splits))
    return tuple(map(tuple, packed(((s, s.bytes or 0) for s in splits), enough)))


def _packed_by_key(cutter: Cutter, n: Scan, splits: tuple[Split, ...], size: float
                   ) -> tuple[tuple[tuple[Split, ...], ...], str, Place] | None:  # fmt: skip
    """Pieces that have all splits of each of their keys; None where a key is to be cut. `size` is that of all rows.

    They are the same for each scan of these files, whatever is asked of them (a topic, a time range), so that two
    topics of one recording lie together.
    """
    column, sizes = n.source.partition_column, _key_bytes(cutter, n)
    if column is None or column not in n.schema or sizes is None:
        return None
    if len(sizes) < min(cutter.limits.cpus, len(splits)):
        # Some processors would have nothing to read. But to bring recordings together again costs more than that,
        # as long as a task can hold one.
        largest = size * max(sizes.values()) / max(sum(sizes.values()), 1)
        if column not in cutter.wanted_together.get(id(n), ()) or largest > cutter.limits.partition_bytes:
            return None
    keys = tuple(tuple(part) for part in packed(sizes.items(), _enough(cutter, sum(sizes.values()))))
    part_of = {key: k for k, part in enumerate(keys) for key in part}
    at = [part_of[str(s.key)] for s in splits]
    in_order = at == sorted(at)  # the files of a recording may lie between those of others
    if not in_order and id(n) in cutter.wanted_order:
        return None
    made: list[list[Split]] = [[] for _ in keys]
    for k, s in zip(at, splits):
        made[k].append(s)
    place = Place(len(keys), (column,), ("keys", keys), ordered=in_order)
    return tuple(map(tuple, made)), f"{len(sizes):,} {column}s", place


def _key_bytes(cutter: Cutter, n: Scan) -> dict[str, int] | None:
    """The bytes of the files of each key of which some scan of the plan over the same files reads something."""
    sizes = n.source.key_bytes()
    if sizes is None:
        return None
    alike = (splits for scan, splits in cutter.splits.items() if scan.source.key_bytes() == sizes)
    read = {s.key for splits in alike for s in splits}
    return {key: size for key, size in sizes.items() if key in read}


def _enough(cutter: Cutter, size: int) -> int:
    """Encoded bytes of a piece: so that there are some for each processor, none larger than a task should hold."""
    limit = max(cutter.limits.partition_bytes // PACKED, 1)
    return min(max(size // (4 * cutter.limits.cpus), _LEAST), limit)


def packed(items: Iterable[tuple], enough: int) -> Iterator[list]:
    """Consecutive items together until they have `enough` bytes."""
    part: list = []
    size = 0
    for item, its_size in items:
        if part and size + max(its_size, 1) > enough:
            yield part
            part, size = [], 0
        part.append(item)
        size += max(its_size, 1)
    if part:
        yield part


def in_memory(cutter: Cutter, n: InMemory, frame: pl.DataFrame) -> Item:
    """Rows that the driver has, in pieces of about equal size."""
    size = frame.estimated_size()
    most = min(frame.height, cutter.limits.partitions or frame.height)
    parts = min(-(-int(size) // cutter.limits.partition_bytes), most)
    if parts <= 1:
        return cutter.item(n, Place(1), float(frame.height))
    each = -(-frame.height // parts)
    made = tuple((first, min(each, frame.height - first)) for first in range(0, frame.height, each))
    return cutter.item(Pieces(n, made, f"{frame.height:,} rows"), Place(len(made)), float(frame.height))
