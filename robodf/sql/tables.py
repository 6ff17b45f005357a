"""What the names in FROM stand for: keyword tables, frames of the caller, files, table functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import polars as pl
from sqlglot import exp

from robodf.errors import SQLError
from robodf.frame.frame import PipelineDataFrame
from robodf.frame.making import as_frame
from robodf.io.formats import Format, function
from robodf.plan.base import Plan
from robodf.plan.expr import Lit
from robodf.sql.errors import missing
from robodf.sql.stage import Query, Stage

_LIBRARIES = {"pandas": ("DataFrame",), "pyarrow": ("Table", "RecordBatch")}


def is_frame(value: Any) -> bool:
    """True of what can be a table by being in a variable."""
    if isinstance(value, (PipelineDataFrame, pl.DataFrame, pl.LazyFrame)):
        return True
    kind = type(value)
    return kind.__name__ in _LIBRARIES.get(kind.__module__.split(".")[0], ())


class Tables:
    """Keyword tables first, then the frames in the variables of one Python frame: its locals, then its globals."""

    def __init__(self, given: Mapping[str, Any], caller: FrameType | None):
        self._given = dict(given)
        self._scopes: list[Mapping[str, Any]] = [self._given]
        if caller is not None:
            self._scopes += [caller.f_locals, caller.f_globals]
        self._made: dict[int, tuple[Any, Plan]] = {}

    def find(self, name: str) -> Plan | None:
        """The plan of a table, exactly by its name or else without regard to case."""
        for scope in self._scopes:
            wanted = [n for n in scope if n == name] or [n for n in scope if n.lower() == name.lower()]
            values = [scope[n] for n in wanted if scope is self._given or is_frame(scope[n])]
            if len(values) > 1:
                raise SQLError(f"table {name!r} is ambiguous: {' and '.join(wanted)} differ in case only")
            if values:
                return self._plan(values[0])
        return None

    def _plan(self, value: Any) -> Plan:
        if id(value) not in self._made:  # the same frame twice is the same node: it is read once
            self._made[id(value)] = (value, as_frame(value)._plan)
        return self._made[id(value)][1]

    def names(self) -> list[str]:
        """The tables that there are, and nothing else of the caller's variables."""
        return [n for scope in self._scopes for n in scope if scope is self._given or is_frame(scope[n])]


def named_table(query: Query, node: exp.Identifier, ctes: Mapping[str, Plan]) -> Plan:
    """`FROM name`, `FROM 'file.parquet'`."""
    name, start = node.name, node.meta.get("start", 0)
    if query.text[start : start + 1] == "'":
        return _read(name)
    found = ctes.get(name.lower()) or query.tables.find(name)
    if found is not None:
        return found
    if any(c in name for c in "/*.") or "://" in name:
        return _read(name)
    said = missing("table", name, [*ctes, *query.tables.names()], "Tables")
    raise query.fail(
        node, f"{said} A file is read as FROM 'path'; a frame is passed as rd.sql(query, {_word(name)}=frame)"
    )


def _word(name: str) -> str:
    return name if name.isidentifier() else "name"


def _read(path: str) -> Plan:
    from robodf.io.read import read

    return read(path)._plan


_OTHER_NAMES = {
    "parquet_scan": "read_parquet", "read_csv_auto": "read_csv", "read_json_auto": "read_json", "log": "read_log",
    "read_rosbag": "read_log", "mcap": "read_mcap",
}  # fmt: skip
"""Table functions under the names that users of DuckDB and ROS look for."""

_OPTIONS = {
    "read_parquet": ("hive_partitioning",),
    "read_csv": ("separator", "has_header", "skip_rows"),
    "read": ("format",),
}
"""Options of readers that pass theirs on to Polars."""


def _readers() -> dict[str, tuple[Callable[..., PipelineDataFrame], tuple[str, ...]]]:
    """`read_<format>` of every format that `rd.read` knows, with the options that its function names."""
    from robodf.io.formats import formats
    from robodf.io.read import read

    found: dict[str, tuple[Callable[..., PipelineDataFrame], tuple[str, ...]]] = {"read": (read, _OPTIONS["read"])}
    for format in formats().values():
        name = f"read_{format.name}"
        found[name] = (format.read, _OPTIONS.get(name) or _named_options(format))
    return {**found, **{other: found[name] for other, name in _OTHER_NAMES.items()}}


def _named_options(format: Format) -> tuple[str, ...]:
    _, *named = inspect.signature(function(format.reader)).parameters.values()
    return tuple(p.name for p in named if p.kind is not p.VAR_KEYWORD and p.name != "storage_options")


def table_function(query: Query, node: exp.Anonymous, stage: Stage) -> Plan:
    """`FROM read_mcap('drive.mcap', topic => '/imu')`."""
    from robodf.sql.aligning import align_plan
    from robodf.sql.deduping import FUNCTIONS, dedup_plan
    from robodf.sql.expressions import compile_expr

    name, readers = node.name.lower(), _readers()
    if name == "align":
        return align_plan(query, node, stage)
    if name in FUNCTIONS:
        return dedup_plan(query, node, stage)
    if name not in readers:
        known = [*readers, "align", *FUNCTIONS]
        raise query.fail(node, missing("table function", name, known, "Table functions"))
    read, options = readers[name]
    paths, given = [], {}
    for item in node.expressions:
        named = isinstance(item, (exp.Kwarg, exp.PropertyEQ, exp.EQ))
        value = _constant(query, item.expression if named else item, lambda e: compile_expr(stage, e))
        if not named:
            paths.append(value)
            continue
        option = item.this.name.lower()
        if option not in options:
            raise query.fail(item.this, missing("option", option, options, f"Options of {name}"))
        given[option] = value
    if len(paths) == 2 and "topic" in options and "topic" not in given:
        given["topic"] = paths.pop()
    if len(paths) != 1 or not isinstance(paths[0], (str, list)):
        raise query.fail(node, f"{name} takes one path, or a list of them")
    return read(paths[0], **given)._plan


def table_argument(query: Query, node: exp.Expr, stage: Stage) -> Plan | None:
    """The table that an argument of a table function is: `t`, `TABLE t`, a query, a function; None: it is no table."""
    from robodf.sql.joins import relation
    from robodf.sql.statement import query_plan

    if isinstance(node, exp.Anonymous) and node.name.lower() == "table" and len(node.expressions) == 1:
        node = node.expressions[0]  # TABLE (SELECT ...)
    if isinstance(node, exp.Table):
        query.check_args(node, ("this",))
        return relation(query, node, stage.env).plan
    if isinstance(node, exp.Column) and not node.table:
        return named_table(query, node.this, stage.env.ctes)
    if isinstance(node, exp.Query) and not node.args.get("alias"):
        return query_plan(query, node.this if isinstance(node, exp.Subquery) else node, stage.env)
    return table_function(query, node, stage) if isinstance(node, exp.Anonymous) else None


def _constant(query: Query, node: exp.Expr, compile_one: Callable[[exp.Expr], Any]) -> Any:
    if isinstance(node, exp.Array):
        return [_constant(query, item, compile_one) for item in node.expressions]
    made = compile_one(node)
    if isinstance(made, Lit):
        return made.value
    raise query.fail(node, "an argument of a table function is a constant")
