"""SQL in DuckDB's dialect, planned and run by the same planner as the methods of a frame."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame


def sql(query: str, **tables: Any) -> PipelineDataFrame:
    """A lazy frame of a SQL query, in DuckDB's dialect and by its rules.

    A table is a keyword argument, or a frame (robodf, Polars, pandas, Arrow) in a local or global variable of the
    caller; `FROM 'drive/*.parquet'` reads files, `FROM read_mcap('drive.mcap', topic => '/imu')` a log. Conditions and
    columns are pushed into files as those of `df.filter` and `df.select` are. `EXPLAIN SELECT ...` gives the plans as
    rows of one column, `plan`. Nothing is executed before the answer is collected.

    `FROM dedup(TABLE logs, caption, method => 'fuzzy', keep => best(quality, t ASC), within => robot)` is `df.dedup`;
    `clusters` and `similar_pairs` likewise. Their options are those of the methods. `best(a)` keeps the row with the
    greatest value, `best(a ASC)` the one with the least; `against` is `TABLE other` or `dedup_index('seen.parquet')`.

    Whole numbers are Int64 in arithmetic and sums; a number with a point is a Float64, not a decimal. What is not
    supported is an error, never ignored: robodf.errors.SQLError, which underlines the place.

    >>> import robodf as rd
    >>> robots = rd.from_dict({"robot": ["a", "a", "b"], "speed": [1.0, 3.0, 2.0]})
    >>> rd.sql("SELECT robot, max(speed) AS top FROM robots GROUP BY robot ORDER BY robot").collect().rows()
    [('a', 3.0), ('b', 2.0)]
    >>> rd.sql("FROM dedup(TABLE robots, robot, keep => best(speed)) WHERE robot = 'a'").collect().rows()
    [('a', 3.0)]
    """
    import polars as pl

    from robodf.errors import QueryError, SQLError
    from robodf.frame.frame import PipelineDataFrame
    from robodf.frame.making import from_dict
    from robodf.sql.parsing import parse
    from robodf.sql.stage import Env, Query
    from robodf.sql.statement import query_plan
    from robodf.sql.tables import Tables

    tree, explain = parse(query)
    context = Query(query, Tables(tables, sys._getframe(1)))
    try:
        plan = query_plan(context, tree, Env())
        _ = plan.schema  # a query that cannot be planned is reported now
    except pl.exceptions.PolarsError as error:
        raise SQLError(f"the query cannot be planned: {str(error).splitlines()[0]}") from error
    except QueryError as error:
        raise SQLError(f"the query cannot be planned: {error}") from error
    except RecursionError:
        raise SQLError("the query is nested too deeply: name parts of it WITH ... AS (...)") from None
    frame = PipelineDataFrame(plan)
    return from_dict({"plan": str(frame.explain("all")).splitlines()}) if explain else frame


__all__ = ["sql"]
