"""Rows of two frames side by side."""

from __future__ import annotations

from typing import Any

import polars as pl

from robodf.plan.base import Names, Plan, Schema
from robodf.plan.expr import Col, Expr, substitute
from robodf.plan.node import lazy, node
from robodf.plan.nodes.filter import Filter, with_filters
from robodf.plan.nodes.unique import constant_in_groups
from robodf.plan.spread import AS_INPUT, Beside, Groups, Spread

_FROM_LEFT = {"inner", "left", "semi", "anti", "cross"}  # a row of the output has all of its left row
_FROM_RIGHT = {"inner", "right", "cross"}


@node
class Join(Plan):
    """An equality join. No order, unless `order` (Polars' maintain_order) says one.

    `how` is inner, left, right, full, semi, anti or cross; nulls match nothing unless `nulls_equal`.
    """

    left: Plan
    right: Plan
    left_on: tuple[Expr, ...]
    right_on: tuple[Expr, ...]
    how: str
    suffix: str
    coalesce: bool | None
    nulls_equal: bool
    order: str | None

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        left, right = inputs
        if self.how == "cross":
            return left.join(right, how="cross", suffix=self.suffix, maintain_order=self.order)  # type: ignore[arg-type]
        return left.join(
            right,
            left_on=[e.polars for e in self.left_on],
            right_on=[e.polars for e in self.right_on],
            how=self.how,  # type: ignore[arg-type]
            suffix=self.suffix,
            coalesce=self.coalesce,
            nulls_equal=self.nulls_equal,
            maintain_order=self.order,  # type: ignore[arg-type]
        )

    @lazy
    def origin(self) -> dict[str, tuple[str, str]]:
        """For each output column, the side that it comes from and its name there."""
        if self.how in ("semi", "anti"):
            return {name: ("left", name) for name in self.schema}
        main, other = ("right", "left") if self.how == "right" else ("left", "right")
        sides = {"left": self.left.schema, "right": self.right.schema}
        found: dict[str, tuple[str, str]] = {}
        for name in self.schema:
            bare = name.removesuffix(self.suffix) if self.suffix and name.endswith(self.suffix) else None
            if self.how == "right":
                # Polars keeps the names of the left side and puts the suffix on the right one here too.
                if name in sides["left"] and not self._is_dropped_left_key(name):
                    found[name] = ("left", name)
                elif name in sides["right"]:
                    found[name] = ("right", name)
                elif bare is not None and bare in sides["right"]:
                    found[name] = ("right", bare)
            elif name in sides[main]:
                found[name] = (main, name)
            elif name in sides[other]:
                found[name] = (other, name)
            elif bare is not None and bare in sides[other]:
                found[name] = (other, bare)
        return found

    def _is_dropped_left_key(self, name: str) -> bool:
        keys = {e.ref for e in self.left_on if isinstance(e, Col)}
        return self.coalesce is not False and name in keys

    def needs(self, out: Names) -> tuple[Names, ...]:
        left = frozenset().union(*(e.columns for e in self.left_on))
        right = frozenset().union(*(e.columns for e in self.right_on))
        for name in out:
            if name not in self.origin:  # a key made of both sides: all keys are needed anyway
                continue
            side, ref = self.origin[name]
            # The suffix is there because the other side has the name too: it must go on having it.
            left |= {ref} if side == "left" else {ref} & self.left.schema.keys()
            right |= {ref} if side == "right" else frozenset()
            if side == "left" and self.how == "right":
                right |= {ref} & self.right.schema.keys()
        return left, right

    def push(self, predicate: Expr) -> Plan | None:
        plan, rest = self.push_all([predicate])
        return None if rest else plan

    def push_all(self, predicates: list[Expr]) -> tuple[Plan, list[Expr]]:
        lefts, rights, rest = [], [], []
        for predicate in predicates:
            on_left, on_right = self._below(predicate)
            if on_left is None and on_right is None:
                rest.append(predicate)
            lefts += [] if on_left is None else [on_left]
            rights += [] if on_right is None else [on_right]
        if len(rest) == len(predicates):
            return self, rest
        left = with_filters(self.left, lefts) if lefts else self.left
        right = with_filters(self.right, rights) if rights else self.right
        return self.replace(left=left, right=right), rest

    def _below(self, predicate: Expr) -> tuple[Expr | None, Expr | None]:
        """The predicate stated over the left and over the right input, where either may apply it."""
        if not predicate.columns or any(name not in self.origin for name in predicate.columns):
            return None, None
        places = [self.origin[name] for name in predicate.columns]
        left = right = None
        if self.how in _FROM_LEFT and all(side == "left" for side, _ in places):
            left = predicate
            right = self._on_other_side(predicate)
        elif self.how in _FROM_RIGHT and all(side == "right" for side, _ in places):
            right = substitute(predicate, {name: Col(self.origin[name][1]) for name in predicate.columns})
        return left, right

    def _on_other_side(self, predicate: Expr) -> Expr | None:
        """A predicate on left keys, stated for the right: rows that it drops there could match nothing."""
        if self.how not in ("inner", "left", "semi", "anti"):
            return None
        same = {}
        for a, b in zip(self.left_on, self.right_on):
            if isinstance(a, Col) and isinstance(b, Col) and self.left.schema[a.ref] == self.right.schema[b.ref]:
                same[a.ref] = b
        if not constant_in_groups(predicate, frozenset(same), self.left.schema):
            return None
        return substitute(predicate, same)

    @property
    def forgets_order(self) -> bool:  # type: ignore[override]
        return self._unordered

    @property
    def _unordered(self) -> bool:
        return self.order in (None, "none")

    def spread(self) -> tuple[Spread, ...]:
        of_left = self.order in ("left", "left_right")
        ways: list[Spread] = []
        rowwise = all(e.rowwise for e in (*self.left_on, *self.right_on))
        if self.how != "cross" and rowwise and (self._unordered or (of_left and self.how not in ("right", "full"))):
            ways.append(Groups((self.left_on, self.right_on), AS_INPUT if of_left else None))
        if self.how in _FROM_LEFT and (self._unordered or of_left):
            ways.append(Beside(0, of_left))
        if self.how in _FROM_RIGHT and (self._unordered or self.order in ("right", "right_left")):
            ways.append(Beside(1, not self._unordered))
        return tuple(ways)

    def passes(self, column: str) -> str | None:
        kept = self.how in _FROM_LEFT and self.origin.get(column) == ("left", column)
        return column if kept else None

    def carries(self, k: int, column: str) -> str | None:
        side = ("left", "right")[k]
        return next((name for name, place in self.origin.items() if place == (side, column)), None)

    def in_order_of(self, k: int) -> Plan | None:
        # Measured on 1.44 and 2.1: Polars takes the same time.
        free = k == 0 and self.how in ("inner", "left", "semi", "anti") and self._unordered
        return self.replace(order="left") if free else None

    def survivors(self, k: int, *rows: float) -> float:
        # Nobody knows how many rows find a partner. That few do is what such joins are for, and costs little if wrong.
        all_stay = self.how in ("full", "cross", ("left", "right")[k])
        return 1.0 if all_stay else 0.5

    def estimate(self, *rows: float) -> float:
        if self.how == "cross":
            return rows[0] * rows[1]
        return rows[0] if self.how in ("semi", "anti") else max(rows)

    def count(self) -> int | None:
        if self.how != "cross":
            return None
        a, b = self.left.count(), self.right.count()
        return None if a is None or b is None else a * b

    @property
    def work(self) -> str:
        return "join"

    def in_memory(self) -> str | None:
        return "one side of a join is held whole"

    def label(self) -> str:
        on = ", ".join(f"{a!r} == {b!r}" for a, b in zip(self.left_on, self.right_on))
        return f"Join {self.how}{' on ' + on if on else ''}"


@node
class JoinAsof(Plan):
    """Each left row with the nearest right row in `on`, before, after or either way; both sides sorted by `on`."""

    left: Plan
    right: Plan
    left_on: str
    right_on: str
    left_by: tuple[str, ...]
    right_by: tuple[str, ...]
    strategy: str
    tolerance: Any
    suffix: str
    coalesce: bool
    allow_exact_matches: bool

    def lower(self, *inputs: pl.LazyFrame) -> pl.LazyFrame:
        left, right = inputs
        return left.join_asof(
            right,
            left_on=self.left_on,
            right_on=self.right_on,
            by_left=list(self.left_by) or None,
            by_right=list(self.right_by) or None,
            strategy=self.strategy,  # type: ignore[arg-type]
            tolerance=self.tolerance,
            suffix=self.suffix,
            coalesce=self.coalesce,
            allow_exact_matches=self.allow_exact_matches,
            check_sortedness=not self.left_by,  # Polars cannot check it within groups and warns
        )

    @lazy
    def schema(self) -> Schema:
        from robodf.plan.base import empty

        return dict(self.lower(empty(self.left.schema), empty(self.right.schema)).collect_schema())

    def needs(self, out: Names) -> tuple[Names, ...]:
        left = {self.left_on, *self.left_by} | (out & self.left.schema.keys())
        right = {self.right_on, *self.right_by}
        for name in out - self.left.schema.keys():
            bare = name if name in self.right.schema else name.removesuffix(self.suffix)
            right |= {bare} & self.right.schema.keys()
            left |= {bare} & self.left.schema.keys()
        return frozenset(left), frozenset(right)

    def push(self, predicate: Expr) -> Plan | None:
        if not predicate.columns or not predicate.columns <= self.left.schema.keys():
            return None
        right = self.right
        if constant_in_groups(predicate, frozenset(self.left_by), self.left.schema):
            by: dict[str, Expr] = {a: Col(b) for a, b in zip(self.left_by, self.right_by)}
            right = Filter(right, substitute(predicate, by))
        return self.replace(left=Filter(self.left, predicate), right=right)

    def count(self) -> int | None:
        return self.left.count()

    def spread(self) -> tuple[Spread, ...]:
        if not self.left_by:
            return (Beside(0),)
        keys = (tuple(map(Col, self.left_by)), tuple(map(Col, self.right_by)))
        return (Groups(keys, AS_INPUT), Beside(0))

    def passes(self, column: str) -> str | None:
        return column if column in self.left.schema else None

    def estimate(self, *rows: float) -> float:
        return rows[0]

    @property
    def work(self) -> str:
        return "join"

    def in_memory(self) -> str | None:
        return "one side of a join is held whole"

    def label(self) -> str:
        by = f" by {', '.join(self.left_by)}" if self.left_by else ""
        within = f" within {self.tolerance}" if self.tolerance is not None else ""
        return f"JoinAsof {self.left_on} {self.strategy} {self.right_on}{by}{within}"
