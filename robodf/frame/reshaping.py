"""Lists, structs, wide and long."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.errors import OptionError, QueryError, SchemaError
from robodf.frame.base import FrameBase
from robodf.plan.expr import Expr, freeze
from robodf.plan.nodes.reshape import Explode, Pivot, Unnest, Unpivot
from robodf.plan.resolve import column_names

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame

_AGGREGATES = ("min", "max", "first", "last", "sum", "mean", "median", "len")


class Reshaping(FrameBase):
    """Methods that change the shape of rows and columns."""

    def explode(self, *columns: Any) -> PipelineDataFrame:
        """One row for each element of list columns; several columns must have lists of equal length in each row.

        An empty list gives no row; a null list gives one row with null.

        >>> import robodf as rd
        >>> rd.from_dict({"id": [1, 2], "joint": [["a", "b"], []]}).explode("joint").collect().rows()
        [(1, 'a'), (1, 'b')]
        """
        schema = self._plan.schema
        names = column_names(columns, schema, "explode")
        if not names:
            raise QueryError("explode needs a column")
        for name in names:
            if not isinstance(schema[name], (pl.List, pl.Array)):
                raise SchemaError(f"explode takes list columns; {name!r} is {schema[name]}")
        return self._then(Explode(self._plan, names))

    def unnest(self, *columns: Any) -> PipelineDataFrame:
        """The fields of struct columns as columns, in the place of the struct.

        >>> import robodf as rd
        >>> rd.from_dict({"p": [{"x": 1, "y": 2}]}).unnest("p").collect().rows(named=True)
        [{'x': 1, 'y': 2}]
        """
        schema = self._plan.schema
        names = column_names(columns, schema, "unnest")
        if not names:
            raise QueryError("unnest needs a column")
        made: list[str] = []
        for name, dtype in schema.items():
            if name in names:
                if not isinstance(dtype, pl.Struct):
                    raise SchemaError(f"unnest takes struct columns; {name!r} is {dtype}")
                made.extend(f.name for f in dtype.fields)
            else:
                made.append(name)
        twice = [n for n in dict.fromkeys(made) if made.count(n) > 1]
        if twice:
            raise SchemaError(f"unnest would give two columns named {twice[0]!r}: rename one first")
        return self._then(Unnest(self._plan, names))

    def pivot(self, on: Any, on_columns: Iterable[Any] | None = None, *, index: Any = None, values: Any = None,
              aggregate_function: Any = None, separator: str = "_") -> PipelineDataFrame:  # fmt: skip
        """One column for each value of `on`, one row for each value of `index`, by first appearance.

        Give the values as `on_columns` to stay lazy; without them the column is read once now to find them.
        `aggregate_function` (min, max, first, last, sum, mean, median, len or an expression over `pl.element()`)
        says what to make of several values in one place; None: more than one is an error.

        >>> import robodf as rd
        >>> df = rd.from_dict({"t": [1, 1, 2], "joint": ["a", "b", "a"], "pos": [0.1, 0.2, 0.3]})
        >>> df.pivot("joint", ["a", "b"], index="t", values="pos").collect().rows()
        [(1, 0.1, 0.2), (2, 0.3, None)]
        """
        schema = self._plan.schema
        on_names = column_names([on], schema, "pivot")
        rest = [n for n in schema if n not in on_names]
        index_names = None if index is None else column_names([index], schema, "pivot")
        value_names = None if values is None else column_names([values], schema, "pivot")
        if index_names is None and value_names is None:
            raise OptionError("pivot needs index= or values=, or both")
        if index_names is None:
            index_names = tuple(n for n in rest if n not in (value_names or ()))
        if value_names is None:
            value_names = tuple(n for n in rest if n not in index_names)
        if isinstance(aggregate_function, str) and aggregate_function not in _AGGREGATES:
            raise OptionError(
                f"pivot: aggregate_function is one of {', '.join(_AGGREGATES)}, not {aggregate_function!r}"
            )
        if on_columns is None:
            found = self.select(*on_names).unique().sort(*on_names).collect()  # type: ignore[attr-defined]
            on_columns = found.to_series().to_list() if len(on_names) == 1 else found.rows()
        aggregate = freeze(aggregate_function)
        return self._then(
            Pivot(self._plan, on_names, freeze(tuple(on_columns or ())), index_names, value_names,
                  aggregate if isinstance(aggregate, Expr) or aggregate is None else str(aggregate), separator)
        )  # fmt: skip

    def unpivot(self, on: Any = None, *, index: Any = None, variable_name: str = "variable",
                value_name: str = "value") -> PipelineDataFrame:  # fmt: skip
        """The columns `on` (None: all that are not in `index`) as rows of (variable, value), in no defined order.

        >>> import robodf as rd
        >>> rd.from_dict({"t": [1], "a": [5], "b": [6]}).unpivot(index="t").collect().rows()
        [(1, 'a', 5), (1, 'b', 6)]
        """
        schema = self._plan.schema
        index_names = () if index is None else column_names([index], schema, "unpivot")
        names = (
            tuple(n for n in schema if n not in index_names) if on is None else column_names([on], schema, "unpivot")
        )
        if not names:
            raise QueryError("unpivot needs columns to put below each other")
        return self._then(Unpivot(self._plan, names, index_names, variable_name, value_name))

    melt = unpivot
