"""Heavy columns are fetched for the rows that are left."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from robodf.io.source import LOCATOR, Fetching
from robodf.plan.base import Plan, Schema, parents_first, plans, wanted_columns
from robodf.plan.expr import Col, base_names
from robodf.plan.gathering import PIECE
from robodf.plan.nodes.fetch import Expected, Fetch
from robodf.plan.nodes.project import Select
from robodf.plan.nodes.scan import Scan
from robodf.plan.spread import Beside, Groups, Ranges

LEAST = 4 << 20
"""Bytes of heavy columns below which nothing is fetched late: they are read in a few milliseconds anyway."""

MOST = 0.8
"""Share of these bytes above which nothing is fetched late: the estimates are no better than that, and a second visit
to each file costs something too."""

MOST_DECODED = 0.25
"""The same where the bytes are read in any case: what is saved is to decode and hold them, and those that are left are
decompressed a second time, which costs some times what decoding does."""

FEW = 0.01
"""Share of rows for which it has to pay where nobody knows how many are left, and a source is not the slower if many
are: how many partners a join finds, or rows that say the same, is a guess."""

_ROW = 64 << 10  # bytes of a row, of which nothing is known but that it has a heavy column
_ROWS = 1000.0  # of an input of which nothing is known
_MANY = 1e15  # more than any limit or sample leaves


def fetch_late(plan: Plan) -> Plan | None:
    """Run filters, joins, dedup, sorts, samples and limits on light columns, then fetch the heavy ones.

    Before::

        Limit 10
          Sort col("quality")
            Scan video a.mp4

    After::

        Select [frame, quality, image]
          Fetch [image] of video a.mp4: fetched late, for about 10 rows, about 99 of 100 bytes are not read
            Limit 10
              Sort col("quality")
                Scan video a.mp4 columns=[frame, quality] with locators

    From a scan up, through nodes with one parent that pass a heavy column and do not read it: the column is fetched
    below the first that reads it, or that has several parents, or at the root. Columns that are needed at different
    places are fetched each at its own. It is done where `pays` says so, by the share of rows that the nodes in between
    leave and by what the source says that their bytes are. A filter or a limit that went into the scan leaves less to
    be read without any of this.
    """
    scans = [n for n in plans(plan) if isinstance(n, Scan) and not n.locator and n.source.heavy]
    if not scans:
        return None
    above: dict[int, list[tuple[Plan, int]]] = {}
    for n in plans(plan):
        for k, child in enumerate(n.inputs()):
            above.setdefault(id(child), []).append((n, k))
    wanted = wanted_columns(plan)
    rows: dict[int, float] = {}
    for scan in scans:
        way = _way_up(scan, wanted[id(scan)], above)
        if not any(way.stops[1:]) or not _leaves_fewer(way):
            continue
        rows = rows or _rows(plan)
        late = _paying(way, rows)
        built = _rebuilt(way, late, _free_name(plan)) if late else None
        if built is not None:
            return _with(plan, *built)
    return None


fetch_late.whole_plan = True  # type: ignore[attr-defined]


# -- what it costs -------------------------------------------------------------------------------------------------


def cost(fetching: Callable[[float], Fetching | None], before: float, left: float, in_order: bool) -> Fetching | None:
    """The bytes of heavy columns in the share `before` of a source's rows, and of fetching the share `left` of those.

    Where rows come in another order than the source has them, they are fetched piece by piece, and each piece may read
    again what the others have read.
    """
    found = fetching(before * left)
    if found is None:
        return None
    fetched = found.fetched
    pieces = 1 if in_order else math.ceil(fetched / PIECE)
    if pieces > 1:
        each = fetching(before * left / pieces)
        fetched = fetched if each is None else pieces * each.fetched
    return replace(found, all=int(found.all * before), fetched=fetched)


def pays(found: Fetching | None) -> bool:
    """Whether columns are worth fetching late.

    >>> pays(Fetching(all=1 << 30, fetched=1 << 20)), pays(Fetching(all=1 << 30, fetched=1 << 30)), pays(None)
    (True, False, False)
    """
    if found is None or found.all < LEAST:
        return False
    return found.fetched <= (MOST if found.done == "read" else MOST_DECODED) * found.all


def _rows(plan: Plan) -> dict[int, float]:
    """About how many rows each node (by id) gives."""
    found: dict[int, float] = {}
    for n in reversed(parents_first(plan)):
        below = [found[id(i)] for i in n.inputs()]
        found[id(n)] = n.estimate(*below) if below else _of_leaf(n)
    return found


def _of_leaf(n: Plan) -> float:
    rows = n.count()
    if rows is not None:
        return float(rows)
    if not isinstance(n, Scan):
        return _ROWS
    splits = list(n.source.splits(n.request))
    known = [s.rows for s in splits if s.rows is not None]
    found = sum(known) if len(known) == len(splits) else max(1, sum(s.bytes or 0 for s in splits) // _ROW)
    return float(found if n.limit is None else min(found, n.limit))


# -- where -----------------------------------------------------------------------------------------------------------


@dataclass
class _Way:
    """The nodes above a scan, each with the number of the input that its rows come by.

    `stops[h]` are the heavy columns that are needed above the first `h` of them: (name there, name in the source).
    """

    scan: Scan
    wanted: frozenset[str]  # of the scan
    nodes: list[tuple[Plan, int]]
    stops: list[list[tuple[str, str]]]
    ordered: bool = False  # whether nodes that promise no order are to keep that of the scan

    def at(self, height: int) -> Plan:
        return self.nodes[height - 1][0] if height else self.scan


def _way_up(scan: Scan, wanted: frozenset[str], above: dict[int, list[tuple[Plan, int]]]) -> _Way:
    whole = {path[0] for path in scan.fields} | {name for name in base_names(wanted) if name not in wanted}
    live = {c: c for c in scan.schema if c in scan.source.heavy and c in wanted and c not in whole}
    way = _Way(scan, base_names(wanted), [], [[]])
    at: Plan = scan
    while live and len(above.get(id(at), ())) == 1:
        ((up, k),) = above[id(at)]
        going: dict[str, str] = {}
        for column, name in live.items():
            out = up.carries(k, name)
            if out is None or name in base_names(up.needs(frozenset(up.schema) - {out})[k]):
                way.stops[-1].append((name, column))
            else:
                going[column] = out
        live = going
        if live:
            way.nodes.append((up, k))
            way.stops.append([])
            at = up
    way.stops[-1].extend((name, column) for column, name in live.items())
    return way


def _leaves_fewer(way: _Way) -> bool:
    """Whether any node on the way leaves out rows, of however many: else nothing is asked of the files."""
    return any(n.survivors(k, *(_MANY for _ in n.inputs())) < 1 for n, k in way.nodes)


def _paying(way: _Way, rows: dict[int, float]) -> dict[int, Expected]:
    """The heights at which fetching pays, and what it costs there."""
    source = way.scan.source
    total = rows[id(way.scan)]
    before = 1.0
    if way.scan.predicates or way.scan.limit is not None:
        before = min(1.0, total / max(_of_leaf(Scan(source)), 1.0))
    left, in_order, could = 1.0, True, True
    later = {column for stop in way.stops[1:] for _, column in stop}
    beside = tuple(c for c in way.scan.schema if c in way.wanted and c not in later)
    found: dict[int, Expected] = {}
    for height in range(1, len(way.stops)):
        n, k = way.nodes[height - 1]
        left *= n.survivors(k, *(rows[id(i)] for i in n.inputs()))
        could = could and (_keeps_order(n) or n.in_order_of(k) is not None)
        in_order = in_order and _keeps_order(n)
        columns = tuple(column for _, column in way.stops[height])
        if not columns:
            continue

        def of(share: float, ordered: bool) -> Fetching | None:
            return cost(lambda s: source.fetching_beside(columns, s, beside), before, share, ordered)  # noqa: B023

        said = of(left, in_order)
        guessed = said is not None and said.bounded and could and FEW < left < 1
        if said is not None and pays(of(FEW, True) if guessed else said):
            found[height] = Expected(round(total * left), said.all, min(said.fetched, said.all), said.done)
            way.ordered = way.ordered or guessed
    return found


def _keeps_order(n: Plan) -> bool:
    for way in n.spread():
        if isinstance(way, Ranges) or (isinstance(way, Groups) and way.order is None):
            return False
        if isinstance(way, Beside) and not way.ordered:
            return False
    return True


# -- the plan ----------------------------------------------------------------------------------------------------------


def _free_name(plan: Plan) -> str:
    """A name for the locators that no node of the plan has."""
    taken = {name for n in plans(plan) for name in n.schema if name.startswith(LOCATOR)}
    names = [LOCATOR, *(f"{LOCATOR}_{k}" for k in range(len(taken)))]
    return next(name for name in names if name not in taken)


def _rebuilt(way: _Way, late: dict[int, Expected], locator: str) -> tuple[Plan, Plan] | None:
    """A node and what comes in its place; None where some node on the way does not let the locator pass."""
    scan = way.scan
    gone = {column for height in late for _, column in way.stops[height]}
    new: Plan = scan.replace(columns=tuple(c for c in scan.schema if c not in gone), locator=True)
    if locator != LOCATOR:
        new = Select(new, tuple((locator if name == LOCATOR else name, Col(name)) for name in new.schema))
    last = max(late)
    names = {column: column for column in gone}  # of what is still to be fetched, at this height
    for height in range(last + 1):
        old = way.at(height)
        if height:
            old, k = way.nodes[height - 1]
            names = {column: out for column, name in names.items() if (out := old.carries(k, name)) is not None}
            if way.ordered:
                old = old.in_order_of(k) or old
            passed = _over(old, k, new, frozenset(old.schema) - set(names.values()), locator)
            if passed is None:
                return None
            new = passed
        if height in late:
            columns = tuple(way.stops[height])
            for _, column in columns:
                del names[column]
            new = Fetch(new, scan.source.fetcher(), locator, columns, height != last, late[height])
            here = [name for name in old.schema if name not in names.values()]
            new = _in_order(new, here if height == last else [*here, locator])
    return way.at(last), new


def _over(old: Plan, k: int, below: Plan, out: frozenset[str], locator: str) -> Plan | None:
    """A node over another input number `k`, with the columns `out` and the locator."""
    inputs = list(old.inputs())
    inputs[k] = below
    if isinstance(old, Select):
        kept = tuple((name, e) for name, e in old.exprs if not isinstance(name, str) or name in out)
        pruned: Plan = old.replace(exprs=(*kept, (locator, Col(locator))))
    else:
        pruned = old.prune(out)
        if type(pruned) is not type(old) or any(a is not b for a, b in zip(pruned.inputs(), old.inputs())):
            return None
    new = pruned.with_inputs(tuple(inputs))
    if new.carries(k, locator) != locator or not _alike(new.schema, old.schema, out, locator):
        return None
    return new


def _alike(new: Schema, old: Schema, out: frozenset[str], locator: str) -> bool:
    return new.keys() == out | {locator} and all(new[name] == old[name] for name in out)


def _in_order(plan: Plan, names: list[str]) -> Plan:
    return plan if list(plan.schema) == names else Select(plan, tuple((name, Col(name)) for name in names))


def _with(plan: Plan, old: Plan, new: Plan) -> Plan:
    done: dict[int, Plan] = {id(old): new}
    for n in reversed(parents_first(plan)):
        if id(n) not in done:
            inputs = tuple(done[id(i)] for i in n.inputs())
            done[id(n)] = n if all(a is b for a, b in zip(n.inputs(), inputs)) else n.with_inputs(inputs)
    return done[id(plan)]
