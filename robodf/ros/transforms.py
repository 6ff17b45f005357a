"""Messages of transforms as a table: which columns say what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from robodf.errors import QueryError, SchemaError
from robodf.plan.expr import Col

LIST = "transforms"

Paths = dict[str, tuple[str, ...]]

# Where a transform says what: geometry_msgs/TransformStamped, foxglove.FrameTransform.
_ROS: Paths = {
    "header_stamp": ("header", "stamp"),
    "parent": ("header", "frame_id"),
    "child": ("child_frame_id",),
    "translation": ("transform", "translation"),
    "rotation": ("transform", "rotation"),
}
_FOXGLOVE: Paths = {
    "header_stamp": ("timestamp",),
    "parent": ("parent_frame_id",),
    "child": ("child_frame_id",),
    "translation": ("translation",),
    "rotation": ("rotation",),
}


def transform_columns(schema: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """The columns of one transform, and the others as they are; where there is a list of them, over its elements."""
    dtype = schema.get(LIST, pl.Struct(schema))
    element = dtype.inner if isinstance(dtype, pl.List) else dtype
    for paths in (_ROS, _FOXGLOVE):
        if all(_has(element, path) for path in paths.values()):
            made = {name: _at((LIST, *path) if LIST in schema else path) for name, path in paths.items()}
            used = {LIST} if LIST in schema else {path[0] for path in paths.values()}
            kept = {name: Col(name) for name in schema if name not in used}
            # Its own stamp takes the place of that of the message, which has none.
            columns = {**kept, **made}
            if len(columns) != len(kept) + len(made) - ("header_stamp" in kept):
                twice = next(name for name in kept if name in made and name != "header_stamp")
                raise QueryError(f"transforms: there is a column {twice!r} already; rename it first")
            return tuple(columns.items())
    raise SchemaError(
        "transforms takes a topic of tf2_msgs/TFMessage, geometry_msgs/TransformStamped, foxglove.FrameTransforms or "
        f"foxglove.FrameTransform; this has the columns {', '.join(schema)}"
    )


def _has(dtype: Any, path: tuple[str, ...]) -> bool:
    for name in path:
        fields = {f.name: f.dtype for f in dtype.fields} if isinstance(dtype, pl.Struct) else {}
        if name not in fields:
            return False
        dtype = fields[name]
    return True


def _at(path: tuple[str, ...]) -> Any:
    found: Any = Col(path[0])
    for name in path[1:]:
        found = found.struct.field(name)
    return found
