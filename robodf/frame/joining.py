"""Two frames side by side, several below each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.errors import OptionError, QueryError, SchemaError, hint
from robodf.frame.base import FrameBase
from robodf.plan.expr import Col, Expr, as_expr
from robodf.plan.nodes.concat import Concat
from robodf.plan.nodes.join import Join, JoinAsof
from robodf.plan.resolve import column_names, expand, flatten

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame

HOW = ("inner", "left", "right", "full", "semi", "anti", "cross")
_OTHER_NAMES = {"outer": "full", "full_outer": "full", "left_semi": "semi", "left_anti": "anti"}
_ORDERS = (None, "none", "left", "right", "left_right", "right_left")
_CONCAT = ("vertical", "vertical_relaxed", "diagonal", "diagonal_relaxed")


class Joining(FrameBase):
    """Methods that take a second frame."""

    def join(self, other: Any, on: Any = None, how: str = "inner", *, left_on: Any = None, right_on: Any = None,
             suffix: str = "_right", coalesce: bool | None = None, nulls_equal: bool = False,
             maintain_order: str | None = None) -> PipelineDataFrame:  # fmt: skip
        """Rows of this frame with the rows of `other` that are equal on the keys.

        `how` is inner, left, right, full (also: outer), semi, anti or cross. The keys are `on`, or `left_on` and
        `right_on` where their names differ; expressions are allowed. Columns of `other` whose names are taken get
        `suffix`. Nulls match nothing unless `nulls_equal`. The order of the rows is not defined unless
        `maintain_order` says left, right, left_right or right_left.

        >>> import robodf as rd
        >>> a = rd.from_dict({"id": [1, 2], "x": ["p", "q"]})
        >>> b = rd.from_dict({"id": [2, 3], "y": [0.2, 0.3]})
        >>> a.join(b, on="id", how="left", maintain_order="left").collect().rows()
        [(1, 'p', None), (2, 'q', 0.2)]
        """
        right = self._other(other, "join")
        how = _OTHER_NAMES.get(how, how)
        if how not in HOW:
            raise OptionError(f"join: how is one of {', '.join(HOW)}, not {how!r}{hint(how, HOW)}")
        if maintain_order not in _ORDERS:
            raise OptionError(f"join: maintain_order is one of {_ORDERS}, not {maintain_order!r}")
        left_keys, right_keys = self._keys(right, on, left_on, right_on, how)
        for key in right_keys:
            # Polars 1.44 and 2.1 drop both the key and the column that gets its name by the suffix.
            bare = key.ref.removesuffix(suffix) if isinstance(key, Col) else ""
            if any(isinstance(k, Col) and k.ref == bare for k in right_keys):
                continue
            if isinstance(key, Col) and bare != key.ref and bare in self._plan.schema and bare in right.schema:
                raise QueryError(
                    f"join: {bare!r} of the right side would be called {key.ref!r}, as a key is: give suffix="
                )
        return self._then(
            Join(self._plan, right, left_keys, right_keys, how, suffix, coalesce, nulls_equal, maintain_order)
        )

    merge = join

    def _keys(
        self, right: Any, on: Any, left_on: Any, right_on: Any, how: str
    ) -> tuple[tuple[Expr, ...], tuple[Expr, ...]]:
        if how == "cross":
            if not on is left_on is right_on is None:
                raise OptionError("a cross join takes no keys")
            return (), ()
        if (on is None) == (left_on is None or right_on is None):
            raise OptionError("join needs on=, or left_on= and right_on=")
        left_items = flatten([on if on is not None else left_on])
        right_items = flatten([on if on is not None else right_on])
        own = self._own  # type: ignore[attr-defined]
        here, there = self._plan.schema, right.schema
        left = tuple(e for i in left_items for e in expand(as_expr(own(i)), here, "join (left side)"))
        keys = tuple(e for i in right_items for e in expand(as_expr(i), there, "join (right side)"))
        if len(left) != len(keys) or not left:
            raise QueryError(f"join has {len(left)} keys on the left and {len(keys)} on the right")
        for a, b in zip(left, keys):
            if isinstance(a, Col) and isinstance(b, Col):
                x, y = self._plan.schema[a.ref], right.schema[b.ref]
                if x != y and not (x.is_numeric() and y.is_numeric()) and pl.Null not in (x, y):
                    raise SchemaError(
                        f"join: {a.ref!r} is {x} on the left, {b.ref!r} is {y} on the right; cast one of them"
                    )
        return left, keys

    def join_asof(self, other: Any, on: str | None = None, *, left_on: str | None = None, right_on: str | None = None,
                  by: Any = None, by_left: Any = None, by_right: Any = None, strategy: str = "backward",
                  tolerance: Any = None, suffix: str = "_right", coalesce: bool = True,
                  allow_exact_matches: bool = True) -> PipelineDataFrame:  # fmt: skip
        """Each row with the row of `other` that is nearest in `on`: backward (at or before it), forward, or nearest.

        Rows farther away than `tolerance` (a number, a timedelta, or text such as "10ms") do not match and give null.
        With `by`, only rows that are equal on it match. Both frames must be sorted by `on` (within `by`).

        >>> import robodf as rd
        >>> a = rd.from_dict({"t": [1, 5, 10], "x": [1, 2, 3]})
        >>> b = rd.from_dict({"t": [0, 4, 7], "y": ["p", "q", "r"]})
        >>> a.join_asof(b, on="t", tolerance=2).collect()["y"].to_list()
        ['p', 'q', None]
        """
        right = self._other(other, "join_asof")
        if strategy not in ("backward", "forward", "nearest"):
            raise OptionError(f"join_asof: strategy is backward, forward or nearest, not {strategy!r}")
        if (on is None) == (left_on is None or right_on is None):
            raise OptionError("join_asof needs on=, or left_on= and right_on=")
        left_name = _one(column_names([on if on is not None else left_on], self._plan.schema, "join_asof (left side)"))
        right_name = _one(column_names([on if on is not None else right_on], right.schema, "join_asof (right side)"))
        left_by = by if by is not None else by_left
        right_by = by if by is not None else by_right
        lefts = column_names(flatten([] if left_by is None else [left_by]), self._plan.schema, "join_asof (left by)")
        rights = column_names(flatten([] if right_by is None else [right_by]), right.schema, "join_asof (right by)")
        if len(lefts) != len(rights):
            raise QueryError(f"join_asof has {len(lefts)} by columns on the left and {len(rights)} on the right")
        return self._then(
            JoinAsof(self._plan, right, left_name, right_name, lefts, rights, strategy, tolerance, suffix, coalesce,
                     allow_exact_matches)
        )  # fmt: skip

    def _other(self, other: Any, doing: str):
        from robodf.plan.nodes.scan import InMemory

        if isinstance(other, FrameBase):
            return other._plan
        if isinstance(other, (pl.DataFrame, pl.LazyFrame)):
            return InMemory(other)
        raise OptionError(f"{doing} takes a frame of robodf or Polars, not {type(other).__name__}; see rd.from_pandas")


def _one(names: tuple[str, ...]) -> str:
    if len(names) != 1:
        raise QueryError(f"join_asof takes one column to match in, not {len(names)}")
    return names[0]


def concat(frames: Iterable[Any], how: str = "vertical") -> PipelineDataFrame:
    """The rows of each frame after those of the one before.

    `how` is vertical (same columns and types), vertical_relaxed (types are widened), diagonal (a missing column is
    null) or diagonal_relaxed.

    >>> import robodf as rd
    >>> rd.concat([rd.from_dict({"a": [1]}), rd.from_dict({"a": [2]})]).collect()["a"].to_list()
    [1, 2]
    """
    from robodf.frame.frame import PipelineDataFrame
    from robodf.frame.making import as_frame

    parts = [as_frame(f) for f in frames]
    if not parts:
        raise QueryError("concat needs at least one frame")
    if how not in _CONCAT:
        raise OptionError(f"concat: how is one of {', '.join(_CONCAT)}, not {how!r}{hint(how, _CONCAT)}")
    if how.startswith("vertical"):
        first = parts[0]
        for k, part in enumerate(parts[1:], 2):
            if part.columns != first.columns:
                raise SchemaError(
                    f"concat: frame 1 has the columns {first.columns}, frame {k} has {part.columns}{_advice}"
                )
            for name in first.columns if how == "vertical" else ():
                if part.schema[name] != first.schema[name]:
                    raise SchemaError(
                        f"concat: {name!r} is {first.schema[name]} in frame 1, {part.schema[name]} in frame {k}; "
                        "cast it, or use how='vertical_relaxed'"
                    )
    if len(parts) == 1:
        return parts[0]
    made: PipelineDataFrame = parts[0]._then(Concat(tuple(p._plan for p in parts), how))
    assert isinstance(made, PipelineDataFrame)
    return made


_advice = "; select the same columns in each, or use how='diagonal'"
