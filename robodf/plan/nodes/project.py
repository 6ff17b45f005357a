"""Columns computed from columns: select and with_columns."""

from __future__ import annotations

import polars as pl

from robodf.plan.base import Names, Plan, Schema
from robodf.plan.bounds import UNKNOWN, Bounds
from robodf.plan.decompose import order_free
from robodf.plan.expr import SEPARATOR, Call, Col, Expr, Lit, base_names, paths_of
from robodf.plan.node import lazy, node, walk
from robodf.plan.nodes.filter import with_filters
from robodf.plan.resolve import Named, inline, lowered, output_names
from robodf.plan.spread import AS_INPUT, Groups, Phases, Rows, Spread, window_keys
from robodf.plan.types import types_of
from robodf.plan.work import work_of

_CHEAP = frozenset(
    """__add__ __sub__ __mul__ __and__ __or__ __xor__ __eq__ __ne__ __lt__ __le__ __gt__ __ge__ __neg__ __invert__
    is_null is_not_null is_between eq ne lt le gt ge not_ and_ or_ struct.field""".split()
)


class _Projection(Plan):
    """What `Select` and `WithColumns` share."""

    rowwise_cost = True
    passes_paths = True
    passes_columns = False  # True: the columns that it does not make are those of the input

    input: Plan
    exprs: Named

    @lazy
    def rowwise(self) -> bool:
        """True where every expression reads one row at a time (so the rows stay what they are)."""
        return all(e.rowwise for _, e in self.exprs)

    @property
    def repeats(self) -> bool:  # type: ignore[override]
        return self.rowwise

    @property
    def computes(self) -> bool:  # type: ignore[override]
        return any(not cheap(e) for _, e in self.exprs)

    @lazy
    def definitions(self) -> dict[str, Expr]:
        return {name: e for name, e in self.exprs if isinstance(name, str)}

    def push(self, predicate: Expr) -> Plan | None:
        plan, rest = self.push_all([predicate])
        return None if rest else plan

    def push_all(self, predicates: list[Expr]) -> tuple[Plan, list[Expr]]:
        moved, rest = [], []
        for predicate in predicates:
            below = self._below(predicate) if self.keeps_rows else None
            if below is None:
                rest.append(predicate)
            else:
                moved.append(below)
        return (self.replace(input=with_filters(self.input, moved)) if moved else self), rest

    def _below(self, predicate: Expr) -> Expr | None:
        """The predicate stated over the input; None where it cannot be or where that would not pay."""
        if not predicate.transparent:
            return None
        same = True
        for name in predicate.columns:
            e = self.definitions.get(name)
            if e is None and not self.passes_columns:
                return None
            if e is not None and not cheap(e):
                return None  # it would be computed twice: here and for the rows that stay
            same &= e is None or (isinstance(e, Col) and e.ref == name)
        return predicate if same else inline(predicate, self.definitions, self.schema)

    def push_limit(self, n: int) -> Plan | None:
        return limited(self, n) if self.keeps_rows else None

    def spread(self) -> tuple[Spread, ...]:
        if self.keeps_rows:
            return (Rows(),)
        keys = window_keys(tuple(e for _, e in self.exprs))
        return () if keys is None else (Groups((keys,), AS_INPUT),)

    def passes(self, column: str) -> str | None:
        if not self.keeps_rows and not self.spread():
            return None
        if self.passes_columns:
            return column if column not in output_names(self.exprs) else None
        return next((name for name, e in self.definitions.items() if isinstance(e, Col) and e.ref == column), None)

    @property
    def work(self) -> str:
        return work_of(e for _, e in self.exprs)

    def estimate(self, *rows: float) -> float:
        return rows[0] if self.keeps_rows or self.same_count or self.spread() else 1

    def range_of(self, column: str) -> Bounds:
        e = self.definitions.get(column)
        if isinstance(e, Col):
            return self.input.range_of(e.ref)
        passes = self.passes_columns and column not in output_names(self.exprs)
        return self.input.range_of(column) if passes else UNKNOWN

    def _text(self) -> str:
        parts = []
        for name, e in self.exprs:
            if isinstance(e, Col) and e.ref == name:
                parts.append(name)
            else:
                shown = ", ".join(name) if isinstance(name, tuple) else name
                body = e.args[0] if isinstance(e, Call) and e.fn == "alias" else e
                parts.append(f"{shown}={body!r}")
        return f"[{', '.join(parts)}]"


@node
class Select(_Projection):
    """The named expressions and nothing else."""

    input: Plan
    exprs: Named

    @lazy
    def keeps_rows(self) -> bool:  # type: ignore[override]
        # Literals alone give one row, not one for each row of the input.
        return self.rowwise and any(e.columns for _, e in self.exprs)

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        return inputs[0].select(lowered(self.exprs))

    @lazy
    def schema(self) -> Schema:
        schema = types_of(self.exprs, self.input.schema)
        return super().schema if schema is None else schema

    def needs(self, out: Names) -> tuple[Names, ...]:
        return (_needed(self._kept(base_names(out)), out),)

    def prune(self, out: Names) -> Plan:
        kept = self._kept(base_names(out))
        return self if len(kept) == len(self.exprs) else self.replace(exprs=kept)

    def _kept(self, out: Names) -> Named:
        kept = tuple(pair for pair in self.exprs if _wanted(pair[0], out))
        # The number of rows may depend on an expression that nobody asked for: sum() against a column.
        if self.keeps_rows and any(e.columns for _, e in kept):
            return kept
        if all(isinstance(e, Col) for _, e in self.exprs):
            return kept or self.exprs[:1]
        return self.exprs

    def count(self) -> int | None:
        return self.input.count() if self.keeps_rows else None

    @property
    def forgets_order(self) -> bool:  # type: ignore[override]
        return not self.keeps_rows and not self.spread() and all(order_free(e) for _, e in self.exprs)

    def phases(self) -> Phases | None:
        if self.keeps_rows or self.spread():
            return None
        from robodf.plan.nodes.aggregate import Aggregate

        return Aggregate(self.input, self.exprs).phases()

    def label(self) -> str:
        return f"Select {self._text()}"


@node
class WithColumns(_Projection):
    """All columns of the input, with the named expressions added or put in place of those of the same name."""

    input: Plan
    exprs: Named

    @lazy
    def keeps_rows(self) -> bool:  # type: ignore[override]
        return self.rowwise

    passes_columns = True
    same_count = True  # an expression of another length is an error, not other rows

    @lazy
    def schema(self) -> Schema:
        made = types_of(self.exprs, self.input.schema)
        return super().schema if made is None else {**self.input.schema, **made}

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        return inputs[0].with_columns(lowered(self.exprs))

    def needs(self, out: Names) -> tuple[Names, ...]:
        made = frozenset(output_names(self.exprs))
        passing = frozenset(path for path in out if path.split(SEPARATOR, 1)[0] not in made)
        return (passing | _needed(self._kept(base_names(out)), out),)

    def prune(self, out: Names) -> Plan:
        kept = self._kept(base_names(out))
        if not kept:
            return self.input
        return self if len(kept) == len(self.exprs) else self.replace(exprs=kept)

    def _kept(self, out: Names) -> Named:
        return tuple(pair for pair in self.exprs if _wanted(pair[0], out))

    def count(self) -> int | None:
        return self.input.count()

    def label(self) -> str:
        return f"WithColumns {self._text()}"


def _wanted(name: str | tuple[str, ...], out: Names) -> bool:
    return name in out if isinstance(name, str) else any(n in out for n in name)


def _needed(kept: Named, out: Names) -> Names:
    """The paths that the expressions read; of a renamed struct only the fields asked for under its new name."""
    found: set[str] = set()
    for name, e in kept:
        below = [p for p in out if isinstance(name, str) and p.startswith(name + SEPARATOR)]
        if isinstance(e, Col) and name not in out and below:
            found.update(e.ref + path.removeprefix(name) for path in below)  # type: ignore[arg-type]
        else:
            found |= paths_of(e)
    return frozenset(found)


def limited(plan: Plan, n: int) -> Plan | None:
    """`plan`, which keeps rows, over the first `n` rows of its input; None where the input has no more than that."""
    from robodf.plan.nodes.rows import Slice

    (below,) = plan.inputs()
    return None if _is_limited(below, n) else plan.with_inputs((Slice(below, 0, n),))


def _is_limited(plan: Plan, n: int) -> bool:
    """True where `plan` gives at most `n` rows already, so that a limit on it would go round in circles."""
    from robodf.plan.nodes.rows import Slice
    from robodf.plan.nodes.scan import Scan

    limit = plan.length if isinstance(plan, Slice) else plan.limit if isinstance(plan, Scan) else None
    if limit is not None and limit <= n:
        return True
    known = plan.count() if not isinstance(plan, Scan) else None
    return known is not None and known <= n


def cheap(e: Expr) -> bool:
    """True where computing `e` twice costs less than what an early filter saves."""
    return all(isinstance(n, (Col, Lit)) or (isinstance(n, Call) and n.fn in _CHEAP) for n in walk(e))
