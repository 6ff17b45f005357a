"""SDF: models with <link> and <joint> elements (sdformat.org/spec)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from robodf.errors import FileFormatError
from robodf.io.robots.tables import INERTIA
from robodf.io.robots.xml import number, numbers, parsed

_LIMITS = {"lower": "limit/lower", "upper": "limit/upper", "effort": "limit/effort", "velocity": "limit/velocity",
           "damping": "dynamics/damping", "friction": "dynamics/friction"}  # fmt: skip


def joints(text: bytes, path: str) -> list[dict[str, Any]]:
    """A row for each joint of each model; of an axis of two (universal) the first."""
    rows = []
    told: dict[str, Any]
    for model, element in _models(text, path):
        for joint in element.findall("joint"):
            where = f"joint {joint.get('name')}"
            xyz, rpy, relative = _pose(joint, path, where)
            axis = joint.find("axis")
            told = (
                {} if axis is None else {n: number(_text(axis, at), path, f"{where}: {n}") for n, at in _LIMITS.items()}
            )
            if axis is not None:
                told["axis"] = numbers(_text(axis, "xyz"), 3, path, f"{where}: axis", [0.0, 0.0, 1.0])
            rows.append(
                {
                    "robot": model, "joint": joint.get("name"), "type": joint.get("type"),
                    "parent": _text(joint, "parent"), "child": _text(joint, "child"), "xyz": xyz, "rpy": rpy,
                    "relative_to": relative or _text(joint, "child"),
                    **told,
                }
            )  # fmt: skip
    return rows


def links(text: bytes, path: str) -> list[dict[str, Any]]:
    """A row for each link of each model."""
    rows = []
    for model, element in _models(text, path):
        for link in element.findall("link"):
            where = f"link {link.get('name')}"
            xyz, rpy, relative = _pose(link, path, where)
            inertial = link.find("inertial")
            center = mass = inertia = None
            if inertial is not None:
                center = _pose(inertial, path, f"{where}: inertial")[0]
                mass = number(_text(inertial, "mass"), path, f"{where}: mass")
                if inertial.find("inertia") is not None:
                    inertia = [number(_text(inertial, f"inertia/{n}"), path, f"{where}: {n}") for n in INERTIA]
            rows.append(
                {
                    "robot": model, "link": link.get("name"), "xyz": xyz, "rpy": rpy, "relative_to": relative,
                    "mass": mass, "center_of_mass": center,
                    "inertia": None if inertia is None or None in inertia else inertia,
                    "visuals": len(link.findall("visual")), "collisions": len(link.findall("collision")),
                    "meshes": [m for m in (_text(mesh, "uri") for mesh in link.iter("mesh")) if m],
                }
            )  # fmt: skip
    return rows


def _models(text: bytes, path: str) -> Iterator[tuple[str, Any]]:
    """The models of a file, of its worlds and of other models, with their names: `outer::inner`."""
    root = parsed(text, path, "sdf")
    waiting = [("", element) for holder in (root, *root.findall("world")) for element in holder.findall("model")]
    while waiting:
        above, element = waiting.pop(0)
        name = f"{above}::{element.get('name')}" if above else str(element.get("name"))
        yield name, element
        waiting[:0] = [(name, inner) for inner in element.findall("model")]


def _pose(element: Any, path: str, where: str) -> tuple[list[float], list[float], str | None]:
    """(xyz, rpy in radians, the frame that it is relative to)."""
    pose = element.find("pose")
    if pose is None:
        return [0.0] * 3, [0.0] * 3, None
    turned = pose.get("rotation_format", "euler_rpy")
    if turned not in ("euler_rpy", "quat_xyzw"):
        raise FileFormatError(f"{path}: {where}: a rotation_format {turned!r}")
    relative = pose.get("relative_to") or pose.get("frame") or None
    if turned == "quat_xyzw":
        found = numbers(pose.text, 7, path, f"{where}: pose", [0.0] * 6 + [1.0]) or []
        return found[:3], _euler(*found[3:]), relative
    found = numbers(pose.text, 6, path, f"{where}: pose", [0.0] * 6) or []
    angles = [math.radians(a) for a in found[3:]] if pose.get("degrees") in ("true", "1") else found[3:]
    return found[:3], angles, relative


def _euler(x: float, y: float, z: float, w: float) -> list[float]:
    """Fixed axes roll, pitch, yaw of a unit quaternion (Diebel, "Representing attitude", 2006, eq. 290)."""
    return [
        math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y)),
        math.asin(max(-1.0, min(1.0, 2 * (w * y - z * x)))),
        math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)),
    ]


def _text(element: Any, at: str) -> str | None:
    found = element.findtext(at)
    return None if found is None else found.strip()
