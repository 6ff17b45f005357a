"""Messages that hold many things, one row for each: points, transforms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from robodf.errors import QueryError, column_not_found
from robodf.frame.base import FrameBase
from robodf.plan.nodes.project import Select
from robodf.plan.nodes.reshape import Explode

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame


class Robots(FrameBase):
    """Methods for topics of standard robot messages; `rd.ros` has the expressions."""

    def points(
        self,
        fields: Iterable[str] | Mapping[str, Any] = ("x", "y", "z"),
        *,
        drop_nan: bool = False,
        layout: str = "ros",
    ) -> PipelineDataFrame:
        """One row for each point of a topic of clouds: the fields as columns, after the columns of its message.

        The arguments are those of `rd.ros.points`. The columns that describe the bytes (height, fields, data, ...)
        are gone. An empty cloud gives no row, one that cannot be read a row of nulls.

        >>> import numpy as np, robodf as rd
        >>> df = rd.from_dict({
        ...     "frame": ["lidar"], "point_stride": [4], "fields": [[{"name": "x", "offset": 0, "type": 7}]],
        ...     "data": [np.array([1, 2], "<f4").tobytes()],
        ... })
        >>> df.points(["x"], layout="foxglove").collect().rows()
        [('lidar', 1.0), ('lidar', 2.0)]
        """
        from robodf.ros.points import COLUMNS, points

        made = points(fields, drop_nan=drop_nan, layout=layout)
        schema = self._plan.schema
        for name in COLUMNS[layout]:
            if name not in schema:
                raise column_not_found(name, schema, f"points, which takes a topic of clouds (layout={layout!r})")
        described = {*COLUMNS[layout], "is_dense"} if layout == "ros" else {*COLUMNS[layout]}
        kept = [name for name in schema if name not in described]
        if "points" in kept:
            raise QueryError("points: there is a column 'points' already; rename it first")
        return self.select(*kept, made).explode("points").unnest("points")  # type: ignore[attr-defined]

    def transforms(self) -> PipelineDataFrame:
        """One row for each transform of a topic such as /tf.

        Takes tf2_msgs/TFMessage, geometry_msgs/TransformStamped, foxglove.FrameTransforms and foxglove.FrameTransform.
        Columns: those of the message (recording, log_time, ...), then `parent` and `child` (names of frames),
        `translation` (x, y, z in meters) and `rotation` (quaternion x, y, z, w). `header_stamp` is the time of the
        transform itself. A message without transforms gives no row, one that could not be decoded a row of nulls.

        >>> import robodf as rd
        >>> stamped = {
        ...     "header": {"stamp": None, "frame_id": "map"}, "child_frame_id": "base",
        ...     "transform": {"translation": {"x": 1.0}, "rotation": {"w": 1.0}},
        ... }
        >>> df = rd.from_dict({"transforms": [[stamped]]}).transforms()
        >>> df.select("parent", "child", rd.col("translation").struct.field("x")).collect().rows()
        [('map', 'base', 1.0)]
        """
        from robodf.ros.transforms import LIST, transform_columns

        columns = transform_columns(self._plan.schema)
        plan = Explode(self._plan, (LIST,)) if LIST in self._plan.schema else self._plan
        return self._then(Select(plan, columns))
