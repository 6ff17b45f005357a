"""What GPUs of a cluster are expected to do of the tasks of a cut plan: for explain(), which runs none of them.

Each task is placed when it is submitted, by the rows that it will really receive (`Stages.placing`). Here the same is
done for one task of each fragment, by estimates.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from robodf.config import settings
from robodf.gpu.devices import devices
from robodf.gpu.facts import Facts, here
from robodf.gpu.translation import available
from robodf.physical.cut import Cut
from robodf.physical.exchange import Gather, Pieces
from robodf.physical.fragments import Fragment, fragments
from robodf.physical.on_gpu import worth_asking
from robodf.physical.place import Placed, place
from robodf.plan.base import Plan, parents_first, tree
from robodf.plan.nodes.scan import InMemory, Scan

_PATIENCE = 10  # seconds until a GPU of the connected cluster is free to be asked for what it is


def on_gpus(done: Cut) -> str:
    """The lines on GPUs of a cut plan; empty where there is none and none is asked for."""
    facts = _facts()
    always = settings().gpu == "always"
    if facts is None or (facts.device is None and not always):
        return ""
    if facts.device is None:
        return f'rd.config(gpu="always"), but {facts.why}: the query would end with a DeviceError\n'
    share = f"{facts.share:g} GPU{'' if facts.share == 1 else ' each'}"
    lines = [f"on GPUs, by estimates (each task is placed when it is submitted, with {share}): {facts}"]
    for f in fragments(done).values():
        lines += [f"  {line}" for line in _of_fragment(f, facts, always)]
    return "\n".join(lines) + "\n"


def _of_fragment(f: Fragment, facts: Facts, always: bool) -> Iterator[str]:
    known = dict(f.known)
    plan = _one_task(f.plan, known)
    which = f"fragment {f.number}, each task"
    if not always and not worth_asking(plan, facts, known):
        yield f"{which}: too little work to be worth a GPU"
        return
    yield from _placed(which, place(plan, facts, forced=always, known=known))


def _placed(which: str, placed: Placed) -> Iterator[str]:
    for d in placed.decisions:
        yield f"{which}: {'GPU' if d.on_gpu else 'CPU'}, {d.why}"
        yield from (f"  {line}" for line in tree(d.plan).splitlines())
    for label, why in placed.stay:
        yield f"{which}: stays on the CPU: {label}: {why}"


def _one_task(plan: Plan, known: dict[int, float]) -> Plan:
    """A fragment's plan as one of its tasks gets it: with the first piece in place of all."""
    made: dict[int, Plan] = {}
    for n in reversed(parents_first(plan)):
        if isinstance(n, Pieces):
            made[id(n)] = _piece(n, known)
        elif isinstance(n, Gather):  # of one partition: nothing is done for it
            made[id(n)] = made[id(n.input)]
        else:
            made[id(n)] = n.with_inputs(tuple(made[id(i)] for i in n.inputs())) if n.inputs() else n
    return made[id(plan)]


def _piece(n: Pieces, known: dict[int, float]) -> Plan:
    first = n.pieces[0] if n.pieces else None
    if isinstance(n.input, Scan) and first:
        return n.input.replace(source=n.input.source.part(first))
    stub = InMemory(pl.DataFrame(schema=n.schema))
    known[id(stub)] = 0.0 if first is None or isinstance(n.input, Scan) else float(first[1])
    return stub


def _facts() -> Facts | None:
    """The GPU that a task would have, as far as it can be known without starting a cluster; None: none is wanted."""
    share = float(settings().num_gpus)
    if not share or settings().gpu == "never":
        return None
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        from robodf.physical.ray_runner import gpu_of
        from robodf.physical.ray_session import connect

        return gpu_of(connect(), _PATIENCE)
    address = settings().address or os.environ.get("RAY_ADDRESS") or "local"
    if address == "local":  # the instance that would be started has the GPUs of this machine
        found = here(share)
        # Each share of a GPU stands beside as many processors as there are for it, as on a cluster.
        return replace(found, cpus=max(1, int(found.cpus * share / max(1, len(devices())))))
    return Facts(None, None, 1, available() or "no cluster is connected that could be asked for its GPUs", share=share)
