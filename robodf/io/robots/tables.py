"""The columns of joints and links, the same for URDF and SDF."""

from __future__ import annotations

import polars as pl

_VECTOR = pl.Array(pl.Float64(), 3)

JOINTS: dict[str, pl.DataType] = {
    "robot": pl.String(),
    "joint": pl.String(),
    "type": pl.String(),
    "parent": pl.String(),
    "child": pl.String(),
    "xyz": _VECTOR,
    "rpy": _VECTOR,
    "relative_to": pl.String(),
    "axis": _VECTOR,
    "lower": pl.Float64(),
    "upper": pl.Float64(),
    "effort": pl.Float64(),
    "velocity": pl.Float64(),
    "damping": pl.Float64(),
    "friction": pl.Float64(),
    "mimic": pl.String(),
    "multiplier": pl.Float64(),
    "offset": pl.Float64(),
}

LINKS: dict[str, pl.DataType] = {
    "robot": pl.String(),
    "link": pl.String(),
    "xyz": _VECTOR,
    "rpy": _VECTOR,
    "relative_to": pl.String(),
    "mass": pl.Float64(),
    "center_of_mass": _VECTOR,
    "inertia": pl.Array(pl.Float64(), 6),
    "visuals": pl.UInt32(),
    "collisions": pl.UInt32(),
    "meshes": pl.List(pl.String()),
}

INERTIA = ("ixx", "ixy", "ixz", "iyy", "iyz", "izz")
TABLES = {"joints": JOINTS, "links": LINKS}
