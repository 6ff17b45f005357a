"""Which columns of a query are the frames of a LeRobot data set as they were read, so that they need not be decoded."""

from __future__ import annotations

from dataclasses import replace

from polars.exceptions import PolarsError

from robodf.errors import RobodfError
from robodf.images.layout import IMAGE
from robodf.io.lerobot.cameras import REFERENCE
from robodf.io.lerobot.source import LeRobotFrames
from robodf.plan.base import Plan, parents_first, plans
from robodf.plan.nodes.scan import Scan


def lerobot_sources(plan: Plan) -> list[LeRobotFrames]:
    """The data sets that a plan reads."""
    return [n.source for n in plans(plan) if isinstance(n, Scan) and isinstance(n.source, LeRobotFrames)]


def with_references(plan: Plan) -> tuple[Plan, tuple[str, ...]]:
    """The plan with references in place of frames, in those of its columns where nothing looks at the frames.

    A reference goes the way of its frame through any operator that only passes it on: filters, sorts, joins and unions
    do. An operator that reads the frames to make or choose anything else needs them decoded.
    """
    cameras = sorted({camera for source in lerobot_sources(plan) for camera in source.cameras})
    chosen: tuple[str, ...] = ()
    for camera in cameras:
        if _referred(plan, (*chosen, camera)) is not None:
            chosen = (*chosen, camera)
    found = _referred(plan, chosen) if chosen else None
    if found is None:
        return plan, ()
    return found, tuple(name for name, dtype in found.schema.items() if dtype == REFERENCE)


def _referred(plan: Plan, cameras: tuple[str, ...]) -> Plan | None:
    """The plan with references for some cameras; None where something reads their frames."""
    done: dict[int, Plan] = {}
    try:
        for node in reversed(parents_first(plan)):
            if isinstance(node, Scan):
                new: Plan = node
                if isinstance(node.source, LeRobotFrames):
                    some = tuple(c for c in node.source.cameras if c in cameras)
                    new = node.replace(source=replace(node.source, references=some))
            else:
                inputs = tuple(done[id(i)] for i in node.inputs())
                new = node if all(a is b for a, b in zip(inputs, node.inputs())) else node.with_inputs(inputs)
                if not _passes_on(new):
                    return None
            done[id(node)] = new
        found = done[id(plan)]
        types = list(found.schema.values())
    except (RobodfError, PolarsError):  # an expression over the fields of an image finds no such field
        return None
    if list(found.schema) != list(plan.schema):
        return None
    same = all(a == b or (a == REFERENCE and b == IMAGE) for a, b in zip(types, plan.schema.values()))
    return found if same and REFERENCE in types else None


def _passes_on(node: Plan) -> bool:
    """Whether an operator reads no reference but to pass it on."""
    others = frozenset(name for name, dtype in node.schema.items() if dtype != REFERENCE)
    for read, source in zip(node.needs(others), node.inputs()):
        bare = {name.split("\0", 1)[0] for name in read}
        if any(dtype == REFERENCE and name in bare for name, dtype in source.schema.items()):
            return False
    return True
