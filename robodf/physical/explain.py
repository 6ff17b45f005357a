"""Plans as text, Mermaid and HTML. It shows what will happen, and nothing that will not."""

from __future__ import annotations

import html
import re

import polars as pl

from robodf.config import settings
from robodf.optimizer import IN_PARTITIONS, RULES, Applied, optimize
from robodf.physical.on_device import OnDevice
from robodf.physical.on_gpu import placement
from robodf.plan.base import Plan, lower_all, tree
from robodf.plan.node import walk
from robodf.plan.nodes.scan import Scan


class Explanation:
    """What `df.explain()` gives: prints as text, shows as HTML in a notebook."""

    def __init__(self, text: str, plan: Plan):
        self._text, self._plan = text, plan

    def __str__(self) -> str:
        return self._text

    __repr__ = __str__

    def mermaid(self) -> str:
        """The optimized plan as a Mermaid flowchart, rows flowing down."""
        return mermaid(self._plan)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self._text)}</pre>"

    def __contains__(self, text: str) -> bool:
        return text in self._text

    def __eq__(self, other: object) -> bool:
        return str(other) == self._text

    def __hash__(self) -> int:
        return hash(self._text)


def explain(plan: Plan, stage: str, format: str = "text", engine: str | None = None) -> Explanation:
    """The stage of the plan, or with `all` the logical, optimized and physical ones below each other."""
    from robodf.physical.engine import on_cluster

    trace: list[Applied] = []
    optimized = optimize(plan, IN_PARTITIONS if on_cluster(plan, engine) else RULES, trace)
    if stage == "physical":
        text, runs = physical(optimized, engine)
        return Explanation(mermaid(runs) if format == "mermaid" else text, runs)
    if format == "mermaid":
        return Explanation(mermaid(plan if stage == "logical" else optimized), optimized)
    stages = {
        "logical": lambda: tree(plan),
        "optimized": lambda: tree(optimized),
        "rules": lambda: "\n".join(map(str, trace)) or "no rule changed the plan",
        "physical": lambda: physical(optimized, engine)[0],
    }
    if stage != "all":
        return Explanation(stages[stage](), optimized)
    shown = [f"== {name} ==\n{stages[name]()}" for name in ("logical", "optimized", "physical")]
    return Explanation("\n\n".join(shown), optimized)


def physical(plan: Plan, engine: str | None = None) -> tuple[str, Plan]:
    """What will run of an optimized plan, as text and as a plan: on a cluster the one that is cut."""
    from robodf.physical.engine import NO_CLUSTER, chosen

    name, why = chosen(plan, engine)
    if name == "ray":
        from robodf.physical.fragments import cut_for, describe
        from robodf.physical.gpu_tasks import on_gpus

        done, made_for = cut_for(plan)
        return f"engine ray: {why}\n{describe(done, made_for)}\n{on_gpus(done)}".rstrip("\n"), done.plan
    weighed = (engine or settings().engine) == "auto" and why != NO_CLUSTER
    said = f"engine local: {why}\n" if weighed else ""
    placed, of = placement(plan, engine)
    if placed is None:
        return f"{said}{of}{one_query(plan)}", plan
    runs = placed.plan if placed.on_gpu else plan
    return f"{said}{of}{placed}\n{one_query(runs)}", runs


def one_query(plan: Plan) -> str:
    """Of the local engine: what each scan will read, what must be held in memory."""
    held: list[str] = []

    def note(n: Plan) -> str:
        reason = n.in_memory()
        if reason:
            held.append(f"{n.label()}: {reason}")
        if isinstance(n, Scan):
            said = str(n.source.report(n.request))
            return f"| reads {said}" if said else ""
        if isinstance(n, OnDevice):
            return "\n".join(f"| {line}" for line in tree(n.fragment.plan, note).splitlines())
        return ""

    queries = _queries(plan)
    count = "a Polars query" if len(queries) == 1 else f"{len(queries)} Polars queries, one feeding the next,"
    lines = [f"one fragment, engine local: {count} on the streaming engine", tree(plan, note)]
    held += [f"{step}: Polars runs it in memory" for step in not_streamed_of(plan)]
    if held:
        lines += ["held in memory:", *(f"  {line}" for line in dict.fromkeys(held))]
    else:
        lines.append("memory stays bounded: nothing is held whole")
    return "\n".join(lines)


def _queries(plan: Plan) -> list[Plan]:
    """What runs as a Polars query of its own: the whole, and what users' functions and robodf's kernels are handed."""
    return [plan, *(i for n in walk(plan) if isinstance(n, Plan) and n.cuts for i in n.inputs())]


_LABEL = re.compile(r'label="((?:[^"\\]|\\.)*)"')


def not_streamed_of(plan: Plan) -> list[str]:
    """The steps of all queries of a plan that Polars' streaming engine hands to its in-memory engine."""
    return [step for query in _queries(plan) for step in not_streamed(lower_all(query))]


def not_streamed(query: pl.LazyFrame) -> list[str]:
    """The steps that Polars' streaming engine hands to its in-memory engine, as its own physical plan names them."""
    graph = query.show_graph(engine="streaming", plan_stage="physical", raw_output=True)
    steps = []
    for label in _LABEL.findall(graph or ""):
        kind, _, rest = label.partition("\\n")
        if kind in ("in-memory-map", "columnar-function"):
            text = rest.replace("\\n", " ").replace('\\"', "'")
            steps.append(" ".join(re.sub(r"_POLARS_TMP\w* = ", "", text).split())[:100])
    return steps


def mermaid(plan: Plan) -> str:
    """A flowchart with one box a node; a shared node is one box with several arrows."""
    ids: dict[int, str] = {}
    lines = ["flowchart BT"]
    for n in walk(plan):
        if isinstance(n, Plan):
            ids[id(n)] = f"n{len(ids)}"
            lines.append(f'  {ids[id(n)]}["{_quoted(n.label())}"]')
    for n in walk(plan):
        if isinstance(n, Plan):
            lines += [f"  {ids[id(child)]} --> {ids[id(n)]}" for child in n.inputs()]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    short = text if len(text) <= 120 else text[:119] + "…"
    for old, new in (("&", "#amp;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;"), ("\n", " ")):
        short = short.replace(old, new)
    return short


def frame_html(plan: Plan) -> str:
    """Schema card and plan of a frame for notebooks; executes nothing."""
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td><code>{html.escape(str(dtype))}</code></td></tr>"
        for name, dtype in plan.schema.items()
    )
    stages = "".join(
        f"<details><summary>{stage} plan</summary><pre>{html.escape(str(explain(plan, stage)))}</pre></details>"
        for stage in ("logical", "optimized", "rules", "physical")
    )
    return (
        "<div><b>PipelineDataFrame</b>, not run: <code>.show()</code>, <code>.collect()</code>"
        f"<table><tr><th>column</th><th>type</th></tr>{rows}</table>{stages}</div>"
    )
