"""Descriptions of robots as tables."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import polars as pl

from robodf.errors import OptionError, hint
from robodf.io.files import list_files
from robodf.io.indexed_files import PATH
from robodf.io.robots import sdf, urdf
from robodf.io.robots.tables import TABLES
from robodf.io.whole_files import WholeFiles

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame
    from robodf.io.read import Paths

_FORMATS = {"urdf": urdf, "sdf": sdf}


def read_urdf(
    paths: Paths, *, table: str = "joints", on_error: str = "raise", storage_options: dict | None = None
) -> PipelineDataFrame:
    """A lazy frame of URDF files: one row a joint, or with table="links" a link.

    Joints: path, robot, joint, type, parent, child (links), xyz and rpy (Array(Float64, 3), metres and radians: the
    pose of the child's frame in that of the parent, `relative_to`), axis, lower, upper, effort, velocity, damping,
    friction, mimic (the joint that it follows), multiplier, offset. Links: path, robot, link, xyz, rpy, relative_to
    (null in URDF), mass (kg), center_of_mass, inertia (ixx, ixy, ixz, iyy, iyz, izz, kg m²), visuals and collisions
    (how many), meshes (as they are named). What a file does not say is null.

    A file that is no URDF, or xacro, is an error, or skipped (`on_error`; `df.errors` tells).

    Needs `pip install 'robodf[urdf]'`.

    >>> import robodf as rd, pathlib, tempfile
    >>> name = pathlib.Path(tempfile.mkdtemp(), "arm.urdf")
    >>> joint = '<joint name="j" type="revolute"><parent link="a"/><child link="b"/><axis xyz="0 0 1"/></joint>'
    >>> _ = name.write_text(f'<robot name="arm"><link name="a"/><link name="b"/>{joint}</robot>')
    >>> rd.read_urdf(name).select("joint", "parent", "child", "axis").collect().rows()
    [('j', 'a', 'b', [0.0, 0.0, 1.0])]
    """
    return _read("urdf", paths, (".urdf",), table, on_error, storage_options)


def read_sdf(
    paths: Paths, *, table: str = "joints", on_error: str = "raise", storage_options: dict | None = None
) -> PipelineDataFrame:
    """A lazy frame of SDF files: one row a joint, or with table="links" a link, of every model in them.

    The columns are those of `read_urdf`. `robot` is the model ("outer::inner" of one in another), xyz and rpy are its
    pose as the file states it, relative to `relative_to` (null: to the model; of a joint by default its child). Files
    that others include are not read.
    """
    return _read("sdf", paths, (".sdf", ".world"), table, on_error, storage_options)


def _read(
    kind: str, paths: Paths, extensions: tuple[str, ...], table: str, on_error: str, storage_options: dict | None
) -> PipelineDataFrame:
    from robodf.io.read import from_source

    if table not in TABLES:
        raise OptionError(f"read_{kind}: table={table!r}{hint(str(table), TABLES)} Tables: {', '.join(TABLES)}")
    if find_spec("lxml") is None:
        raise ImportError(f"read_{kind} needs lxml: pip install 'robodf[urdf]'")
    files = list_files(paths, extensions, storage_options)  # type: ignore[arg-type]
    return from_source(Descriptions.of(files, storage_options, on_error, kind=kind, rows=table))


@dataclass(frozen=True)
class Descriptions(WholeFiles):
    """Joints or links of files of one kind."""

    kind: str = "urdf"
    rows: str = "joints"

    @property
    def name(self) -> str:
        return f"{self.kind} {self.rows}"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        return {PATH: pl.String(), **TABLES[self.rows]}

    def table(self, path: str) -> pl.DataFrame:
        found = getattr(_FORMATS[self.kind], self.rows)(self.text(path), path)
        types = TABLES[self.rows]
        return pl.DataFrame([{name: row.get(name) for name in types} for row in found], schema=types)
