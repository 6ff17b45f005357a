"""What a clause of a query sees: a plan, the names that are visible, and what was computed already."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl
from sqlglot import exp

from robodf.errors import SQLError, listing
from robodf.plan.base import Plan
from robodf.plan.expr import Col, Expr
from robodf.plan.nodes.project import WithColumns
from robodf.sql.errors import missing, span_of, underlined

if TYPE_CHECKING:
    from robodf.sql.tables import Tables


@dataclass(frozen=True)
class Field:
    """A visible column: `ref` is its name in the plan. `shown` is False for the sides of a USING column."""

    table: str | None
    name: str
    ref: str
    shown: bool = True


@dataclass
class Query:
    """What all stages of one query share."""

    text: str
    tables: Tables

    def fail(self, node: exp.Expr, message: str) -> SQLError:
        """The error, with the place of `node` underlined."""
        return underlined(self.text, span_of(node), message)

    def check_args(self, node: exp.Expr, handled: Iterable[str]) -> None:
        """What the tree says and nobody reads would be ignored in silence: it is an error."""
        known = set(handled)
        for name, value in node.args.items():
            if value is None or value is False or value == [] or name in known:
                continue
            at = value if isinstance(value, exp.Expr) else node
            raise self.fail(at, f"{name.strip('_').replace('_', ' ').upper()} is not supported here")


@dataclass(frozen=True)
class Env:
    """Where a query stands: the WITH tables that it sees, and the stage around it where it is a subquery."""

    ctes: dict[str, Plan] = field(default_factory=dict)
    outer: Stage | None = None


@dataclass
class Stage:
    """The rows that a clause works on. `plan` grows as expressions need helper columns."""

    query: Query
    env: Env
    plan: Plan
    fields: list[Field]
    clause: str = "SELECT"
    aliases: dict[str, exp.Expr] = field(default_factory=dict)
    windows: dict[str, exp.Window] = field(default_factory=dict)
    below: Stage | None = None  # after GROUP BY: the stage before it
    known: dict[int, tuple[Expr, str]] = field(default_factory=dict)  # by identity: what GROUP BY computed, its column
    memo: dict[int, Expr] = field(default_factory=dict)
    open_aliases: list[str] = field(default_factory=list)
    unnested: exp.Expr | None = None
    at: exp.Expr = field(default_factory=exp.Null)  # the call that is being compiled
    _probe: tuple[Plan, pl.LazyFrame] | None = None

    # -- the plan -----------------------------------------------------------------------------------------------

    def dtype(self, e: Expr) -> pl.DataType:
        """The type of an expression here."""
        if isinstance(e, Col):
            return self.plan.schema[e.ref]
        if self._probe is None or self._probe[0] is not self.plan:
            self._probe = (self.plan, pl.LazyFrame(schema=self.plan.schema))
        return self._probe[1].select(e.polars.alias("e")).collect_schema()["e"]

    def fresh(self, wanted: str) -> str:
        """A column name that the plan does not have."""
        name, n = wanted, 1
        while name in self.plan.schema:
            name, n = f"{wanted}_{n}", n + 1
        return name

    def add(self, wanted: str, e: Expr) -> Col:
        """A helper column."""
        name = self.fresh(wanted)
        self.plan = WithColumns(self.plan, ((name, e),))
        return Col(name)

    # -- names --------------------------------------------------------------------------------------------------

    def lookup(self, name: str, table: str | None) -> list[Field]:
        """The visible columns of that name, exactly or else without regard to case."""
        if table is None:
            found = [f for f in self.fields if f.shown]
        else:
            found = [f for f in self.fields if f.table is not None and f.table.lower() == table.lower()]
        exact = [f for f in found if f.name == name]
        return exact or [f for f in found if f.name.lower() == name.lower()]

    def has_table(self, name: str) -> bool:
        return any(f.table is not None and f.table.lower() == name.lower() for f in self.fields)

    def find(self, parts: list[exp.Identifier]) -> tuple[Field, list[str]] | None:
        """The column that `a.b.c` names and the struct fields below it, or None."""
        names = [p.name for p in parts]
        if len(names) > 1 and self.has_table(names[0]):
            found = self.lookup(names[1], names[0])
            if found:
                return self._one(found, parts[:2]), names[2:]
        found = self.lookup(names[0], None)
        return (self._one(found, parts[:1]), names[1:]) if found else None

    def _one(self, found: list[Field], parts: list[exp.Identifier]) -> Field:
        if len({f.ref for f in found}) > 1:
            places = listing(f"{f.table}.{f.name}" if f.table else f.name for f in found)
            name = ".".join(p.name for p in parts)
            raise self.query.fail(parts[-1], f"{name!r} is ambiguous: write one of {places}")
        return found[0]

    def unknown(self, parts: list[exp.Identifier]) -> SQLError:
        """The error for a column that is not here."""
        names = [p.name for p in parts]
        if len(names) > 1:
            tables = list(dict.fromkeys(f.table for f in self.fields if f.table))
            if not self.has_table(names[0]):
                known = [*tables, *(f.name for f in self.fields)]
                return self.query.fail(parts[0], missing("table or column", names[0], known, "Tables and columns"))
            own = [f.name for f in self.fields if f.table and f.table.lower() == names[0].lower()]
            return self.query.fail(parts[1], missing("column", names[1], own, f"Columns of {names[0]}"))
        known = [f.name for f in self.fields if f.shown]
        return self.query.fail(parts[0], missing("column", names[0], [*known, *self.aliases], "Columns"))

    def fork(self, **changes: Any) -> Stage:
        """Another view of the same rows."""
        fields_ = {name: getattr(self, name) for name in ("query", "env", "plan", "fields", "clause")}
        return Stage(**{**fields_, **changes})
