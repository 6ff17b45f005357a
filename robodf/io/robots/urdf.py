"""URDF: <robot> with <link> and <joint> elements (wiki.ros.org/urdf/XML)."""

from __future__ import annotations

from typing import Any

from robodf.errors import FileFormatError
from robodf.io.robots.tables import INERTIA
from robodf.io.robots.xml import number, numbers, parsed

_ZERO = [0.0, 0.0, 0.0]
_FACTS = {**dict.fromkeys(("lower", "upper", "effort", "velocity"), "limit"),
          **dict.fromkeys(("damping", "friction"), "dynamics")}  # fmt: skip
TYPES = ("revolute", "continuous", "prismatic", "fixed", "floating", "planar")


def robot(text: bytes, path: str) -> Any:
    """The <robot> element; FileFormatError also for xacro, which is a program that writes URDF."""
    found = parsed(text, path, "robot")
    for element in found.iter():
        if (
            "xacro" in (element.prefix or "")
            or "xacro" in element.tag
            or any("${" in v for v in element.attrib.values())
        ):
            raise FileFormatError(f"{path}: is xacro, not URDF: expand it first, by `xacro {path} > robot.urdf`")
    return found


def joints(text: bytes, path: str) -> list[dict[str, Any]]:
    """A row for each joint."""
    root = robot(text, path)
    links = {link.get("name") for link in root.findall("link")}
    rows = []
    for joint in root.findall("joint"):
        name, kind = joint.get("name"), joint.get("type")
        where = f"joint {name}"
        if kind not in TYPES:
            raise FileFormatError(f"{path}: {where} is of the type {kind!r}, not of {', '.join(TYPES)}")
        parent, child = (_of(joint, tag, "link") for tag in ("parent", "child"))
        for end in (parent, child):
            if end not in links:
                raise FileFormatError(f"{path}: {where} is at the link {end!r}, which is not there")
        xyz, rpy = _origin(joint, path, where)
        axis = numbers(_of(joint, "axis", "xyz"), 3, path, f"{where}: axis", [1.0, 0.0, 0.0])
        mimic = joint.find("mimic")
        rows.append(
            {
                "robot": root.get("name"), "joint": name, "type": kind, "parent": parent, "child": child, "xyz": xyz,
                "rpy": rpy, "relative_to": parent, "axis": None if kind in ("fixed", "floating") else axis,
                **{n: number(_of(joint, tag, n), path, f"{where}: {n}") for n, tag in _FACTS.items()},
                "mimic": None if mimic is None else mimic.get("joint"),
                "multiplier": None if mimic is None else number(mimic.get("multiplier", "1"), path, f"{where}: mimic"),
                "offset": None if mimic is None else number(mimic.get("offset", "0"), path, f"{where}: mimic"),
            }
        )  # fmt: skip
    return rows


def links(text: bytes, path: str) -> list[dict[str, Any]]:
    """A row for each link."""
    root = robot(text, path)
    rows = []
    for link in root.findall("link"):
        where = f"link {link.get('name')}"
        inertial = link.find("inertial")
        center = inertia = None
        if inertial is not None:
            center = _origin(inertial, path, where)[0]
            if inertial.find("inertia") is not None:
                inertia = [number(_of(inertial, "inertia", n), path, f"{where}: {n}") for n in INERTIA]
        rows.append(
            {
                "robot": root.get("name"),
                "link": link.get("name"),
                "mass": None if inertial is None else number(_of(inertial, "mass", "value"), path, f"{where}: mass"),
                "center_of_mass": center,
                "inertia": None if inertia is None or None in inertia else inertia,
                "visuals": len(link.findall("visual")),
                "collisions": len(link.findall("collision")),
                "meshes": [m.get("filename") for m in link.iter("mesh") if m.get("filename") is not None],
            }
        )
    return rows


def _of(element: Any, tag: str, attribute: str) -> str | None:
    found = element.find(tag)
    return None if found is None else found.get(attribute)


def _origin(element: Any, path: str, where: str) -> tuple[list[float], list[float]]:
    xyz = numbers(_of(element, "origin", "xyz"), 3, path, f"{where}: xyz", _ZERO)
    rpy = numbers(_of(element, "origin", "rpy"), 3, path, f"{where}: rpy", _ZERO)
    return xyz or _ZERO, rpy or _ZERO
