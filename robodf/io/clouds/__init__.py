"""Point clouds in files: PCD, PLY, LAS, LAZ, COPC and KITTI's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from robodf.errors import OptionError

if TYPE_CHECKING:
    import os

    from robodf.frame.frame import PipelineDataFrame

    Paths = str | os.PathLike | Iterable[str | os.PathLike]


def read_points(
    paths: Paths,
    fields: Iterable[str] | None = None,
    *,
    max_points: int | None = None,
    format: str | None = None,
    on_error: str = "raise",
    storage_options: dict | None = None,
) -> PipelineDataFrame:
    """A lazy frame of cloud files, one row a point: path, point (its number in the file), x, y, z and the other fields.

    Reads PCD (ascii, binary, binary_compressed, versions .5 to .7), PLY (its vertices), LAS, LAZ and COPC, and the
    headerless `.bin` files of KITTI, which are looked for in a folder only with `format="kitti"`. The formats are
    pcd, ply, las and kitti; the content of a file tells which it is.

    Fields keep their names and types. In LAS files x, y and z are the scaled coordinates (Float64), all else is as
    stored, extra dimensions included. A field of several numbers (COUNT in PCD) is an Array. Fields of PCD named `_`
    are padding and left out. `fields` chooses some, or the columns that a query uses do. Of files with different fields
    each is null in the rows of files that lack it, and numbers are of a type that holds those of all.

    `max_points` takes at most so many of each file, evenly spread over it, the same ones each time. A filter on x, y or
    z skips LAS files by the bounds in their headers, and nodes of the octree of a COPC file.

    For one point in each cube of 10 cm, group by the cubes:
    `df.group_by("path", *((rd.col(a) / 0.1).floor().alias(f"cube_{a}") for a in "xyz")).agg(...)`, or see
    `rd.voxel_downsample` for clouds in lists.

    >>> import robodf as rd, tempfile, pathlib
    >>> name = pathlib.Path(tempfile.mkdtemp(), "a.pcd")
    >>> _ = name.write_text('''VERSION .7
    ... FIELDS x y z ring
    ... SIZE 4 4 4 1
    ... TYPE F F F U
    ... WIDTH 2
    ... HEIGHT 1
    ... POINTS 2
    ... DATA ascii
    ... 1 2 3 7
    ... 4 5 6 8
    ... ''')
    >>> rd.read_points(name).filter(rd.col("x") > 2).select("point", "z", "ring").collect().rows()
    [(1, 6.0, 8)]
    """
    from robodf.io.clouds.points import PointFiles

    return _read(PointFiles, "read_points", paths, fields, max_points, format, on_error, storage_options)


def read_clouds(
    paths: Paths,
    fields: Iterable[str] | None = None,
    *,
    max_points: int | None = None,
    format: str | None = None,
    on_error: str = "raise",
    storage_options: dict | None = None,
) -> PipelineDataFrame:
    """A lazy frame of cloud files, one row a file, its points in the column `cloud`: List(Struct) of the fields.

    path, format, points (how many), width and height (of organized PCD files; null where they say nothing that fits),
    viewpoint (of PCD: x y z, then the quaternion w x y z), min_x to max_z (of LAS: the bounds in the header, a step of
    its scale wider) and cloud. All but `cloud` come from headers; `cloud` is read for the rows that a query keeps.
    Other arguments and formats are those of `read_points`. `cloud` is as `rd.ros.points` gives it for messages.

    >>> import robodf as rd, tempfile, pathlib
    >>> name = pathlib.Path(tempfile.mkdtemp(), "a.ply")
    >>> _ = name.write_text('''ply
    ... format ascii 1.0
    ... element vertex 2
    ... property float x
    ... property float y
    ... property float z
    ... end_header
    ... 1 2 3
    ... 4 5 6
    ... ''')
    >>> rd.read_clouds(name).select("points", rd.col("cloud").list.first()).collect().rows()
    [(2, {'x': 1.0, 'y': 2.0, 'z': 3.0})]
    """
    from robodf.io.clouds.whole import CloudFiles

    return _read(CloudFiles, "read_clouds", paths, fields, max_points, format, on_error, storage_options)


def _read(source: Any, reader: str, paths: Paths, fields: Iterable[str] | None, max_points: int | None,
          format: str | None, on_error: str, storage: dict | None) -> PipelineDataFrame:  # fmt: skip
    from robodf.io.clouds.files import EXTENSIONS, SEARCHED, check_format, columns, headers
    from robodf.io.error_log import ErrorLog
    from robodf.io.files import fingerprint, list_files
    from robodf.io.logs.model import check_on_error
    from robodf.io.read import from_source

    check_on_error(on_error)
    check_format(reader, format)
    if max_points is not None and (type(max_points) is not int or max_points < 1):
        raise OptionError(f"{reader}: max_points is a whole number from 1 on, not {max_points!r}")
    if isinstance(fields, str):
        raise OptionError(f"{reader}: fields is a list of names; write [{fields!r}]")
    wanted = None if fields is None else tuple(dict.fromkeys(fields))
    if wanted is not None and (not wanted or not all(isinstance(name, str) for name in wanted)):
        raise OptionError(f"{reader}: fields names at least one field, by text; it is {fields!r}")
    files = list_files(paths, SEARCHED if format is None else EXTENSIONS[format], storage)
    log = ErrorLog()
    found = headers(files, format, storage, on_error, log)
    made = source(
        paths=tuple(path for path, _ in found),
        headers=tuple(header for _, header in found),
        state=tuple(fingerprint(path, storage) for path, _ in found),
        columns=columns(found, wanted, reader),
        max_points=max_points,
        storage=tuple(sorted((storage or {}).items())),
        on_error=on_error,
        log=log,
    )
    return from_source(made)
