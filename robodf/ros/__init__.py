"""Standard robot messages as columns to compute with: clouds, transforms, orientations, images.

What a reader gives is the message as it was sent. The functions here are expressions over its columns, so they work
in `select`, `with_columns` and `filter`, and cost nothing
for messages that are filtered out.

>>> import robodf as rd
>>> df = rd.from_dict({"orientation": [{"x": 0.0, "y": 0.0, "z": 1.0, "w": 1.0}]})
>>> df.select(yaw=rd.ros.euler("orientation", degrees=True).struct.field("yaw")).collect()["yaw"].round(9).to_list()
[90.0]
"""

from robodf.ros.geometry import covariance, euler, quaternion, rotation_matrix
from robodf.ros.images import image_size, is_keyframe
from robodf.ros.points import points

__all__ = [
    "covariance",
    "euler",
    "image_size",
    "is_keyframe",
    "points",
    "quaternion",
    "rotation_matrix",
]
