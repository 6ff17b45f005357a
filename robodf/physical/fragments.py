"""A cut plan as text: its fragments, each a set of tasks, and where the rows of each operator lie."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from robodf.config import settings
from robodf.physical.cluster import limits
from robodf.physical.cut import Cut, Item, cut
from robodf.physical.exchange import Broadcast, ByHash, ByRange, Counted, Exchange, Gather, Pieces, Rebatched, Tagged
from robodf.physical.ray_pools import needs_pool, resources_of
from robodf.plan.base import Plan, parent_counts, parents_first
from robodf.plan.nodes.checkpoint import Checkpoint
from robodf.plan.nodes.scan import InMemory, Scan
from robodf.plan.nodes.shared import Cached, Shared

_UNKNOWN_CPUS = 8
"""By how many processors a plan is cut where a cluster is named, but nobody has asked it for its own."""


@dataclass(frozen=True)
class Fragment:
    """Operators that run in one task from the exchanges below them to the next one, a task for each partition."""

    number: int
    plan: Plan  # with leaves of no rows in place of what other fragments give
    top: Plan  # its uppermost operator in the cut plan
    tasks: int
    limit: int | None  # rows that are enough, so that its later tasks need not run
    known: Mapping[int, float]  # about how many rows each leaf of no rows (by id) stands for, of one task


def processors() -> tuple[int, str]:
    """By how many processors a plan would be cut now, and whose they are. Connects to nothing."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        from robodf.physical.ray_session import connect

        return max(1, int(connect().cpus)), "of the connected cluster"
    address = settings().address or os.environ.get("RAY_ADDRESS") or "local"
    if address != "local":
        return _UNKNOWN_CPUS, "no cluster is connected, which may have more or fewer"
    asked = settings().num_cpus
    if asked is not None:
        return asked, "num_cpus of rd.config; no cluster is connected"
    return os.cpu_count() or 1, "of this machine; no cluster is connected"


def cut_for(plan: Plan) -> tuple[Cut, str]:
    """An optimized plan cut as the cluster will, and for what: `8 CPUs (of the connected cluster)`."""
    cpus, whose = processors()
    return cut(plan, limits(cpus)), f"{_some(cpus, 'CPU')} ({whose})"


def describe(done: Cut, made_for: str) -> str:
    """The fragments and exchanges of a cut plan, its operators with their places, and what is held in memory."""
    found = fragments(done)
    exchanges = sum(isinstance(n, (Gather, Broadcast, ByHash, ByRange, Counted, Rebatched)) for n in _needed(done.plan))
    lines = [f"cut for {made_for}: {_some(len(found), 'fragment')}, {_some(exchanges, 'exchange')}"]
    lines += _tree(done, found)
    held = dict.fromkeys(line for f in found.values() for line in _held(f))
    lines.append("held in memory by each task: the rows that it receives and those that it gives")
    return "\n".join([*lines, *(f"  {line}" for line in held)])


def fragments(done: Cut) -> dict[int, Fragment]:
    """The fragments in the order in which they run, by the id of the node that their rows go to; the last by 0."""
    alone: dict[int, Plan] = {}
    found: dict[int, Fragment] = {}
    known: dict[int, float] = {}

    def stub(n: Plan) -> Plan:
        made = _stub(n)
        item = done.items.get(id(n))
        if item is not None:
            known[id(made)] = item.rows / item.place.parts
        return made

    for n in _needed(done.plan):
        inputs = tuple(stub(i) if _ends(done, i) else alone[id(i)] for i in _below(n))
        if _ends(done, n) and inputs:
            top = n.inputs()[0]
            limit = n.limit if isinstance(n, Gather) else None
            found[id(n)] = Fragment(len(found) + 1, inputs[0], top, _parts(done, top), limit, known)
        read = bool(n.inputs()) and not inputs  # rows that are kept
        alone[id(n)] = stub(n) if read else n.with_inputs(inputs) if inputs else n
    last = stub(done.plan) if _ends(done, done.plan) else alone[id(done.plan)]
    found[0] = Fragment(len(found) + 1, last, done.plan, done.place.parts, None, known)
    return found


def _needed(root: Plan) -> list[Plan]:
    """The nodes that will run, inputs first: not those below rows that are kept."""
    wanted, pending = {id(root)}, [root]
    while pending:
        new = [i for i in _below(pending.pop()) if id(i) not in wanted]
        wanted.update(map(id, new))
        pending += new
    return [n for n in reversed(parents_first(root)) if id(n) in wanted]


def _below(n: Plan) -> tuple[Plan, ...]:
    kept = isinstance(n, Checkpoint) and n.kept_rows is not None
    return () if kept else n.inputs()


def _ends(done: Cut, n: Plan) -> bool:
    """Whether what is below a node is computed by tasks of its own, before those that use its rows."""
    if isinstance(n, Gather):
        return _parts(done, n.input) > 1
    if isinstance(n, Checkpoint):
        return n.kept_rows is None
    return isinstance(n, (Exchange, Shared, Cached)) and not isinstance(n, (Pieces, Tagged))


def _stub(n: Plan) -> Plan:
    return InMemory(pl.DataFrame(schema=n.schema))


def _parts(done: Cut, n: Plan) -> int:
    """The number of partitions of a node of a cut plan."""
    item = done.items.get(id(n))
    return item.place.parts if item is not None else max((_parts(done, i) for i in n.inputs()), default=1)


def _tree(done: Cut, found: dict[int, Fragment]) -> Iterator[str]:
    """The cut plan as indented text, above each fragment its own line."""
    parents = parent_counts(done.plan)
    seen: dict[int, int] = {}
    yield _header(done, found[0])
    stack = [(done.plan, 0)]
    while stack:
        n, depth = stack.pop()
        indent = "  " * depth
        if id(n) in seen:
            yield f"{indent}(same as #{seen[id(n)]}: {n.label()})"
            continue
        mark = ""
        if parents.get(id(n), 0) > 1:
            seen[id(n)] = len(seen) + 1
            mark = f"#{seen[id(n)]} "
        item = done.items.get(id(n))
        yield f"{indent}{mark}{n.label()}{'' if item is None else f' -- {_place(item)}'}"
        said = str(n.source.report(n.request)) if isinstance(n, Scan) else ""
        if said:
            yield f"{indent}  | reads {said}"
        if isinstance(n, ByRange):
            tasks = _some(_parts(done, n.input), "more task")
            yield f"{indent}  | of ranges found from a sample of the keys; {tasks} cut the rows into them"
        if id(n) in found:
            yield f"{indent}  {_header(done, found[id(n)])}"
        stack += [(child, depth + 1) for child in reversed(_below(n))]


def _header(done: Cut, f: Fragment) -> str:
    tasks = _some(f.tasks, "task")
    if f.limit is not None:
        tasks = f"at most {tasks}, as {_some(f.limit, 'row')} are enough"
    item = done.items.get(id(f.top))
    size = "" if item is None else f", {_size(item)}"
    return f"fragment {f.number}: {tasks}, {_resources(f.plan)}{size}"


def _resources(plan: Plan) -> str:
    """What each task asks of the worker that it runs on."""
    needed = resources_of(plan)
    if needed is None:
        return "1 CPU each"
    parts = [_some(1 if needed.num_cpus is None else needed.num_cpus, "CPU")]
    parts += [_some(needed.num_gpus, "GPU")] if needed.num_gpus else []
    text = f"{' and '.join(parts)} each"
    if needs_pool(needed):
        most = "" if needed.concurrency is None else f", {needed.concurrency} at most"
        text += f", in workers that stay for all of them{most}"
    return text


def _held(f: Fragment) -> Iterator[str]:
    from robodf.physical.explain import not_streamed_of

    which = f"fragment {f.number}"
    yield from (f"{which}: {n.label()}: {reason}" for n in parents_first(f.plan) if (reason := n.in_memory()))
    yield from (f"{which}: {step}: Polars runs it in memory" for step in not_streamed_of(f.plan))


def _place(item: Item) -> str:
    return f"{_some(item.place.parts, 'partition')}, {_size(item)}"


def _size(item: Item) -> str:
    """About how many rows, and how many bytes they take in memory."""
    return f"about {_some(round(item.rows), 'row')}, {_bytes(item.size)}"


def _some(number: float, of: str) -> str:
    return f"{number:,g} {of}{'' if number == 1 else 's'}" if number < 1e6 else f"{number:,.0f} {of}s"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"
