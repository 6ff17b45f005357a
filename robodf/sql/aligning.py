"""`FROM align(...)`: several tables on one clock."""

from __future__ import annotations

from typing import Any

from sqlglot import exp

from robodf.errors import RobodfError
from robodf.plan.base import Plan
from robodf.plan.expr import Lit
from robodf.sql.stage import Query, Stage
from robodf.sql.tables import table_argument

_OPTIONS = ("clock", "on", "by", "method", "tolerance", "prefix", "start", "end")


def align_plan(query: Query, node: exp.Anonymous, stage: Stage) -> Plan:
    """`align(imu, joints => (SELECT ...), clock => '50hz', method => 'linear', tolerance => INTERVAL '20 ms')`.

    Streams are tables by name, or `name => table`, a query or a table function. The options are those of `rd.align`;
    `method`, `tolerance` and `prefix` may be structs by stream, as in `{'imu': 'linear'}`.
    """
    from robodf.frame.aligning import align
    from robodf.frame.frame import PipelineDataFrame

    streams: dict[str, Any] = {}
    options: dict[str, Any] = {}
    clock: exp.Expr | None = None
    for item in node.expressions:
        named = isinstance(item, (exp.Kwarg, exp.PropertyEQ, exp.EQ))
        name = item.this.name if named else item.name
        value = item.expression if named else item
        if named and name.lower() == "clock":
            clock = value
        elif named and name.lower() in _OPTIONS:
            options[name.lower()] = _constant(query, stage, value)
        elif name in streams:
            raise query.fail(item, f"two streams are named {name!r}: write another_name => {name}")
        else:
            streams[name] = PipelineDataFrame(_table(query, value, stage))
    if clock is None or not streams:
        raise query.fail(node, "align takes streams and a clock, as in align(imu, joints, clock => '50hz')")
    times = _clock(query, stage, clock, streams)
    try:
        return align(streams, times, **options)._plan
    except RobodfError as error:
        raise query.fail(node, str(error).removeprefix("align: ")) from error


def _table(query: Query, node: exp.Expr, stage: Stage) -> Plan:
    found = table_argument(query, node, stage)
    if found is None:
        raise query.fail(node, "a stream is a table, name => a table, or name => (a query)")
    return found


def _clock(query: Query, stage: Stage, node: exp.Expr, streams: dict[str, Any]) -> Any:
    """A stream by name, a rate, or a table of times."""
    if isinstance(node, exp.Column) and not node.table and node.name in streams:
        return node.name
    if isinstance(node, (exp.Column, exp.Subquery, exp.Anonymous, exp.Table)):
        from robodf.frame.frame import PipelineDataFrame

        return PipelineDataFrame(_table(query, node, stage))
    return _constant(query, stage, node)


def _constant(query: Query, stage: Stage, node: exp.Expr) -> Any:
    from robodf.sql.expressions import compile_expr

    if isinstance(node, exp.Struct):
        fields = {}
        for item in node.expressions:
            if not isinstance(item, exp.PropertyEQ):
                raise query.fail(item, "write {'stream': value}")
            fields[item.this.name] = _constant(query, stage, item.expression)
        return fields
    if isinstance(node, exp.Array):
        return [_constant(query, stage, item) for item in node.expressions]
    if isinstance(node, exp.Null):
        return None
    made = compile_expr(stage, node)
    if isinstance(made, Lit):
        return made.value
    raise query.fail(node, "an option of align is a constant")
