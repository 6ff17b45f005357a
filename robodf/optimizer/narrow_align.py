"""Streams are read around the times of their clock only."""

from __future__ import annotations

import polars as pl

from robodf.plan.base import Plan
from robodf.plan.bounds import Bounds, both
from robodf.plan.expr import Call, Col, Expr
from robodf.plan.nodes.align import Align, constant
from robodf.plan.nodes.filter import with_filters


def narrow_align(plan: Plan) -> Plan | None:
    """Filter each stream of an align to the times that its clock can ask for, widened by its tolerance.

    Before::

        Align on t clock=camera imu:nearest(20)
          Filter (col("t") >= 1000) & (col("t") <= 2000)
            Scan camera.mcap
          Scan imu.mcap

    After::

        Align on t clock=camera imu:nearest(20)
          Filter (col("t") >= 1000) & (col("t") <= 2000)
            Scan camera.mcap
          Filter (col("t") >= 980) & (col("t") <= 2020)
            Scan imu.mcap

    What is known of the clock comes from filters and from the metadata of its source. A stream without tolerance has
    the end only that is safe: `previous` needs nothing after the clock, `next` nothing before it.
    """
    if not isinstance(plan, Align):
        return None
    streams, limited = list(plan.streams), list(plan.limited)
    for k, stream in enumerate(plan.streams):
        wanted = plan.reach(k)
        # What was asked of the stream before is kept in the node: a filter may have gone where it is not seen any more.
        known = both(stream.range_of(plan.on), limited[k])
        parts = _conditions(plan.on, stream.schema[plan.on], wanted, known)
        if parts:
            streams[k], limited[k] = with_filters(stream, parts), wanted
    return plan.replace(streams=tuple(streams), limited=tuple(limited)) if limited != list(plan.limited) else None


def _conditions(on: str, dtype: pl.DataType, wanted: Bounds, known: Bounds) -> list[Expr]:
    """The comparisons that say more than what is known of the column already."""
    parts: list[Expr] = []
    for op, want, have, tighter in (("__ge__", wanted[0], known[0], 1), ("__le__", wanted[1], known[1], -1)):
        if want is None or not -(1 << 63) <= want < 1 << 63:
            continue
        if have is None or (want - have) * tighter > 0:
            parts.append(Call(op, (Col(on), constant(want, dtype))))
    return parts
