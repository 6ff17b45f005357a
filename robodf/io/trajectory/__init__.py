"""Trajectories as text: TUM, KITTI and EuRoC."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from robodf.errors import OptionError, hint

if TYPE_CHECKING:
    import os

    from robodf.frame.frame import PipelineDataFrame

    Paths = str | os.PathLike | Iterable[str | os.PathLike]

FORMATS = ("tum", "kitti", "euroc")


def read_trajectory(
    paths: Paths, format: str | None = None, *, on_error: str = "raise", storage_options: dict | None = None
) -> PipelineDataFrame:
    """A lazy frame of trajectories, one row a pose: path, pose (its number in the file), time, position, orientation.

    Formats, which the number of words in the first line tells where `format` does not:
    "tum": time in seconds, tx ty tz qx qy qz qw; "kitti": the first three rows of a matrix, 12 numbers, without a time
    (time is null); "euroc": CSV with time in nanoseconds, px, py, pz, qw, qx, qy, qz, and more that is left out. Lines
    that begin with `#` and blank lines are skipped.

    time is Datetime("ns"), UTC, exact: the digits of seconds are not rounded through a float, those beyond nanoseconds
    are cut off. position is Struct(x, y, z) and orientation Struct(x, y, z, w), a quaternion, of Float64, as in
    geometry_msgs/Pose. The quaternion of a KITTI matrix is of length one and has w >= 0. A line that does not fit is an
    error that names it; with `on_error="skip"` or "collect" it is left out.

    >>> import robodf as rd, tempfile, pathlib
    >>> name = pathlib.Path(tempfile.mkdtemp(), "groundtruth.txt")
    >>> _ = name.write_text("# time tx ty tz qx qy qz qw\\n1305031098.665899999 1 2 3 0 0 0 1\\n")
    >>> df = rd.read_trajectory(name)
    >>> df.select(rd.col("time").dt.epoch("ns"), rd.col("position").struct.field("y")).collect().rows()
    [(1305031098665899999, 2.0)]
    """
    from robodf.io.files import list_files
    from robodf.io.read import from_source
    from robodf.io.trajectory.poses import PoseFiles

    if format is not None and format not in FORMATS:
        raise OptionError(f"read_trajectory: format={format!r}{hint(format, FORMATS)} Formats: {', '.join(FORMATS)}")
    files = list_files(paths, EXTENSIONS, storage_options)
    return from_source(PoseFiles.of(files, storage_options, on_error, format=format))


EXTENSIONS = (".tum", ".kitti", ".txt", ".csv")
"""What is looked for in a folder."""


def sniff(head: bytes, size: int) -> bool:
    """Whether the comments that a file begins with name the columns of a trajectory: those of TUM and EuRoC do."""
    for line in head.splitlines():
        if not line.startswith(b"#"):
            return False
        words = line.decode("ascii", "replace").lower().replace(",", " ").strip("# ").split()
        if {"tx", "ty", "tz", "qw"} <= set(words) or (words[:1] == ["timestamp"] and "p_rs_r_x" in words):
            return True
    return False
