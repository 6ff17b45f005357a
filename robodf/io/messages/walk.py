"""The payloads of a batch through a tree of nodes: columns, and which payloads do not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from robodf.io.messages.cdr import Message
from robodf.io.messages.cdr_batch import Batch, BrokenPayload, Template, Varying, Wire
from robodf.io.messages.decoder import Fields, Problem, Schema
from robodf.io.messages.payloads import Payloads

if TYPE_CHECKING:
    import pyarrow as pa

# For fewer payloads it is not worth to find out whether they are alike.
_FEW_ROWS = 8

Part = tuple[np.ndarray, pl.DataFrame]
"""The rows of payloads that could be decoded, and their columns."""


def read(
    tree: Message,
    payloads: Payloads,
    rows: np.ndarray,
    order: str,
    wire: Wire,
    fields: Fields | None,
    problems: list[Problem],
) -> Part:
    """The wanted fields of those of the rows that can be decoded; appends the others to `problems`."""
    columns = _alike(tree, payloads, rows, order, wire, fields)
    if columns is not None:
        return rows, _frame(columns, len(rows))
    try:
        batch, columns = _walk(tree, payloads, rows, order, wire, fields)
    except BrokenPayload:
        scan = Batch(payloads, rows, order, wire, reading=False)
        _end(scan, tree.skip(scan, np.arange(len(rows)), scan.start))
        problems.extend((int(rows[i]), why) for i, why in scan.problems.items())
        rows = rows[~scan.broken]
        batch, columns = _walk(tree, payloads, rows, order, wire, fields)
    frame = _frame(columns, len(rows))
    if batch.problems:  # texts that are not UTF-8 are found only while reading
        problems.extend((int(rows[i]), why) for i, why in batch.problems.items())
        frame = frame.filter(pl.Series(~batch.broken)) if columns else pl.DataFrame(height=int((~batch.broken).sum()))
        rows = rows[~batch.broken]
    return rows, frame


def spread(parts: list[Part], height: int, wanted: Schema) -> pl.DataFrame:
    """The rows of the parts in their places among `height` rows, null elsewhere."""
    if len(parts) == 1 and len(parts[0][0]) == height:
        return parts[0][1]
    if not wanted:
        return pl.DataFrame(height=height)
    frames = [frame for _, frame in parts if frame.height]
    if not frames:
        return pl.DataFrame(schema=wanted).clear(height)
    place = np.full(height, -1, dtype=np.int64)
    taken = np.concatenate([rows for rows, _ in parts])
    place[taken] = np.arange(len(taken))
    index = pl.Series(place, dtype=pl.Int64)
    index = index.set(index < 0, None)
    return pl.concat(frames).select(pl.all().gather(index))


def _alike(
    tree: Message, payloads: Payloads, rows: np.ndarray, order: str, wire: Wire, fields: Fields | None
) -> dict[str, pa.Array] | None:
    """The columns of payloads that have all their values in the same places; None where they have not.

    Groups of alike payloads are not looked for: to put their rows back in order takes longer than it saves.
    """
    if len(rows) < _FEW_ROWS or (payloads.length[rows] != payloads.length[rows[0]]).any():
        return None
    batch = Template(payloads, rows, order, wire)
    try:
        return _columns(tree, batch, fields)
    except (Varying, BrokenPayload):
        return None


def _walk(
    tree: Message, payloads: Payloads, rows: np.ndarray, order: str, wire: Wire, fields: Fields | None
) -> tuple[Batch, dict[str, pa.Array]]:
    batch = Batch(payloads, rows, order, wire, reading=True)
    return batch, _columns(tree, batch, fields)


def _columns(tree: Message, batch: Batch, fields: Fields | None) -> dict[str, pa.Array]:
    behind, columns = tree.read_columns(batch, np.arange(len(batch.start)), batch.start, fields)
    _end(batch, behind)
    return columns


def _end(batch: Batch, behind: np.ndarray) -> None:
    left = batch.end - behind
    ok = left <= batch.wire.slack
    batch.require(np.arange(len(behind)), ok, behind, "the payload is longer than its message type says")


def _frame(columns: dict[str, pa.Array], height: int) -> pl.DataFrame:
    import pyarrow as pa

    return pl.DataFrame(pl.from_arrow(pa.table(columns))) if columns else pl.DataFrame(height=height)
