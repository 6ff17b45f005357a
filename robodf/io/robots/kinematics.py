"""Where a link is, by the angles of the joints on the way to it."""

from __future__ import annotations

import os
from typing import Any

import polars as pl

from robodf.errors import FileFormatError, OptionError, SchemaError, hint
from robodf.plan import kernels

_XYZ = pl.Struct(dict.fromkeys("xyz", pl.Float64()))
_POSE = pl.Struct({"position": _XYZ, "orientation": pl.Struct(dict.fromkeys("xyzw", pl.Float64()))})

_MOVING = ("revolute", "continuous", "prismatic")


def forward_kinematics(
    urdf: str | os.PathLike[str], link: str, joints: dict[str, Any] | None = None, *, base: str | None = None
) -> pl.Expr:
    """The pose of a link in that of another, by the positions of joints: `Struct(position, orientation)`.

    Takes a URDF file, which is read now, and for each joint that moves on the way from `base` (None: the root) to
    `link` the column of its positions, radians or metres; by default columns of the names of the joints. A joint that
    mimics another follows it. The answer has the fields of geometry_msgs/Pose, metres and a unit quaternion, and is
    null where a position is null or not finite. Limits of joints are not applied.

    Each joint turns (or moves) the frame of its child: T = origin · motion(q), and the pose is the product along the
    chain (Craig, Introduction to Robotics, 3.6, with URDF's frames in place of DH parameters).

    Raises:
        OptionError: a link, base or joint that the file does not have, or a floating or planar joint on the way.

    Needs `pip install 'robodf[urdf]'`.

    >>> import math, robodf as rd, pathlib, tempfile
    >>> name = pathlib.Path(tempfile.mkdtemp(), "arm.urdf")
    >>> joint = '<joint name="j" type="revolute"><parent link="a"/><child link="b"/><axis xyz="0 0 1"/></joint>'
    >>> tip = '<joint name="t" type="fixed"><parent link="b"/><child link="c"/><origin xyz="2 0 0"/></joint>'
    >>> links = "".join(f'<link name="{n}"/>' for n in "abc")
    >>> _ = name.write_text(f'<robot name="arm">{links}{joint}{tip}</robot>')
    >>> df = rd.from_dict({"j": [0.0, math.pi / 2]}).select(pose=rd.forward_kinematics(name, "c"))
    >>> [(round(p["position"]["x"], 9), round(p["position"]["y"], 9)) for p in df.collect()["pose"]]
    [(2.0, 0.0), (0.0, 2.0)]
    """
    steps = _chain(os.fspath(urdf), link, base)
    moving = list(dict.fromkeys(name for _, _, _, _, name, _, _ in steps if name is not None))
    given = joints or {}
    for name in given:
        if name not in moving:
            said = f"{', '.join(moving)} move" if moving else "no joint moves"
            raise OptionError(
                f"forward_kinematics: {name!r} is no joint on the way to {link!r}{hint(name, moving)} There {said}"
            )
    if not moving:
        raise OptionError(f"forward_kinematics: no joint moves {link!r}: its pose is the same in every row")
    columns = [given.get(name, name) for name in moving]
    places = tuple((*step[:4], -1 if step[4] is None else moving.index(step[4]), *step[5:]) for step in steps)
    return kernels.call("robots.forward_kinematics", *columns, steps=places).alias("pose")


def _chain(path: str, link: str, base: str | None) -> list[tuple]:
    """(xyz, rpy, axis, slides, the joint that moves it or None, multiplier, offset) of each joint from base to link."""
    from robodf.io.robots.urdf import joints as rows_of
    from robodf.io.robots.urdf import links as links_of
    from robodf.io.whole_files import text_of

    text = text_of(path, ())
    names = [row["link"] for row in links_of(text, path)]
    for wanted in (link, *(() if base is None else (base,))):
        if wanted not in names:
            raise OptionError(
                f"forward_kinematics: {path} has no link {wanted!r}{hint(str(wanted), names)} Links: {names}"
            )
    rows = rows_of(text, path)
    above = {row["child"]: row for row in rows}
    by_name = {row["joint"]: row for row in rows}
    steps: list[tuple] = []
    at = link
    while at != base and at in above:
        row = above[at]
        if len(steps) > len(rows):
            raise FileFormatError(f"{path}: the links go round in a circle at {at!r}")
        if row["type"] in ("floating", "planar"):
            raise OptionError(
                f"forward_kinematics: the joint {row['joint']!r} on the way to {link!r} is {row['type']}: "
                f"pass base={row['child']!r} and put the pose of that link before"
            )
        moved, factor, shift = (row["joint"], 1.0, 0.0) if row["type"] in _MOVING else (None, 0.0, 0.0)
        if moved is not None and row["mimic"] is not None:
            moved, factor, shift = row["mimic"], row["multiplier"], row["offset"]
            leader = by_name.get(moved)
            if leader is None or leader["mimic"] is not None:
                raise FileFormatError(
                    f"{path}: the joint {row['joint']!r} mimics {moved!r}, which does not move by itself"
                )
        steps.append((tuple(row["xyz"]), tuple(row["rpy"]), tuple(row["axis"] or (1.0, 0.0, 0.0)),
                      row["type"] == "prismatic", moved, factor, shift))  # fmt: skip
        at = row["parent"]
    if base is not None and at != base:
        raise OptionError(f"forward_kinematics: {link!r} does not hang on {base!r}")
    return steps[::-1]


def _pose(*positions: pl.Series, steps: Any) -> pl.Series:
    import numpy as np

    for column in positions:
        if not column.dtype.is_numeric():
            raise SchemaError(f"forward_kinematics takes numbers, and {column.name!r} is {column.dtype}")
    n = len(positions[0])
    q = np.stack([p.cast(pl.Float64).fill_null(float("nan")).to_numpy() for p in positions])
    sound = np.asarray(np.isfinite(q).all(axis=0))
    q = np.where(sound, q, 0.0)
    turn, moved = np.broadcast_to(np.eye(3), (n, 3, 3)), np.zeros((n, 3))
    for xyz, rpy, axis, slides, joint, factor, shift in steps:
        moved = moved + turn @ np.array(xyz)
        turn = turn @ _fixed_axes(*rpy)
        if joint < 0:
            continue
        value = factor * q[joint] + shift
        unit = np.array(axis) / (np.linalg.norm(axis) or 1.0)
        if slides:
            moved = moved + (turn @ unit) * value[:, None]
        else:
            turn = turn @ _about(unit, value)
    known, turned = pl.Series(sound & np.isfinite(moved).all(axis=1)), _quaternion(turn)
    made = pl.DataFrame(
        {
            "position": pl.DataFrame(dict(zip("xyz", moved.T))).to_struct(),
            "orientation": pl.DataFrame(dict(zip("xyzw", turned.T))).to_struct(),
        }
    )
    return made.select(pl.when(known).then(pl.struct(pl.all()))).to_series()


def _fixed_axes(roll: float, pitch: float, yaw: float) -> Any:
    """(3, 3): Rz(yaw) Ry(pitch) Rx(roll)."""
    from math import cos, sin

    import numpy as np

    x = np.array([[1, 0, 0], [0, cos(roll), -sin(roll)], [0, sin(roll), cos(roll)]])
    y = np.array([[cos(pitch), 0, sin(pitch)], [0, 1, 0], [-sin(pitch), 0, cos(pitch)]])
    z = np.array([[cos(yaw), -sin(yaw), 0], [sin(yaw), cos(yaw), 0], [0, 0, 1]])
    return z @ y @ x


def _about(unit: Any, angle: Any) -> Any:
    """(n, 3, 3): rotations about an axis (Rodrigues)."""
    import numpy as np

    x, y, z = unit
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    sine, cosine = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    return np.eye(3) + sine * cross + (1 - cosine) * (cross @ cross)


def _quaternion(turn: Any) -> Any:
    """(n, 4) x, y, z, w with w >= 0, by the largest of the four (Shepperd, 1978)."""
    import numpy as np

    m = turn
    trace = np.trace(m, axis1=1, axis2=2)
    squares = np.stack([1 + 2 * m[:, k, k] - trace for k in range(3)] + [1 + trace], 1)
    best = squares.argmax(axis=1)
    out = np.empty((len(m), 4))
    rows = np.arange(len(m))
    half = np.sqrt(np.maximum(squares[rows, best], 1e-300))
    sums = {(a, b): m[:, a, b] + m[:, b, a] for a, b in ((0, 1), (0, 2), (1, 2))}
    less = [m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]]
    for k in range(4):
        others = [
            squares[:, j] if j == k else less[min(j, k)] if 3 in (j, k) else sums[(min(j, k), max(j, k))]
            for j in range(4)
        ]
        mine = best == k
        out[mine] = np.stack(others, 1)[mine]
    out /= 2 * half[:, None]
    return np.where(out[:, 3:] < 0, -out, out)


kernels.register("robots.forward_kinematics", kernels.Kernel(_pose, lambda **_: _POSE, total=True))
