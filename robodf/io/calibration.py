"""Calibrations of cameras as rows, from the files that ROS, Kalibr and OpenCV write."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.errors import FileFormatError
from robodf.io.indexed_files import PATH
from robodf.io.whole_files import WholeFiles
from robodf.io.yaml_text import documents

if TYPE_CHECKING:
    from robodf.frame.frame import PipelineDataFrame
    from robodf.io.read import Paths

_SIZES = {"k": 9, "r": 9, "p": 12, "t_cam_imu": 16}
SCHEMA: dict[str, pl.DataType] = {
    PATH: pl.String(),
    "camera": pl.String(),
    "width": pl.UInt32(),
    "height": pl.UInt32(),
    "camera_model": pl.String(),
    "distortion_model": pl.String(),
    "d": pl.List(pl.Float64()),
    **{name: pl.Array(pl.Float64(), size) for name, size in _SIZES.items()},
    "topic": pl.String(),
}
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?(nan|inf)", re.I)


def read_calibration(
    paths: Paths, *, on_error: str = "raise", storage_options: dict | None = None
) -> PipelineDataFrame:
    """A lazy frame of camera calibrations, one row a camera.

    | column | what it is |
    |---|---|
    | path, camera | the file, and the name of the camera in it |
    | width, height | UInt32: pixels |
    | camera_model, distortion_model | as the file calls them: "pinhole", "plumb_bob", "equidistant" ... |
    | d | List(Float64): coefficients of the distortion |
    | k, r | Array(Float64, 9): intrinsic matrix and rectification, by rows |
    | p | Array(Float64, 12): projection, by rows |
    | t_cam_imu | Array(Float64, 16): from the IMU's frame into the camera's, by rows (Kalibr) |
    | topic | String (Kalibr) |

    What a file does not say is null. Read are camera_info YAML and INI of ROS, Kalibr's camchain YAML, and YAML of
    OpenCV's FileStorage with `camera_matrix` and `distortion_coefficients`, or `Camera.fx` and so on as in ORB-SLAM.
    The names of k, d, r, p are those of sensor_msgs/CameraInfo.

    >>> import robodf as rd, pathlib, tempfile
    >>> name = pathlib.Path(tempfile.mkdtemp(), "left.yaml")
    >>> matrix = "{data: [500, 0, 320, 0, 500, 240, 0, 0, 1]}"
    >>> _ = name.write_text(f"camera_name: left\\nimage_width: 640\\ncamera_matrix: {matrix}")
    >>> rd.read_calibration(name).select("camera", "width", rd.col("k").arr.get(0)).collect().rows()
    [('left', 640, 500.0)]
    """
    from robodf.io.files import list_files
    from robodf.io.read import from_source

    files = list_files(paths, (".yaml", ".yml", ".ini"), storage_options)  # type: ignore[arg-type]
    return from_source(Calibrations.of(files, storage_options, on_error))


@dataclass(frozen=True)
class Calibrations(WholeFiles):
    """Cameras of calibration files."""

    @property
    def name(self) -> str:
        return "calibration"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        return SCHEMA

    def table(self, path: str) -> pl.DataFrame:
        text = self.text(path)
        if path.lower().endswith(".ini"):
            cameras = list(_ini(text, path))
        else:
            cameras = [camera for found in documents(text, path) for camera in _cameras(found, path)]
        types = {name: dtype for name, dtype in SCHEMA.items() if name != PATH}
        return pl.DataFrame([{name: camera.get(name) for name in types} for camera in cameras], schema=types)


def _cameras(document: Any, path: str) -> list[dict[str, Any]]:
    if not isinstance(document, dict):
        raise FileFormatError(f"{path}: holds no calibration of a camera: it is no map")
    chain = [(name, part) for name, part in document.items() if isinstance(part, dict) and "intrinsics" in part]
    if chain:
        return [_kalibr(name, part, path) for name, part in chain]
    if "camera_matrix" in document:
        return [_ros(document, path)]
    if "Camera.fx" in document or "Camera1.fx" in document:
        return [
            _orb(document, prefix, path) for prefix in ("Camera", "Camera1", "Camera2") if f"{prefix}.fx" in document
        ]
    raise FileFormatError(
        f"{path}: holds no calibration of a camera: neither camera_matrix, nor cameras with intrinsics, nor Camera.fx. "
        "Read it by read_yaml"
    )


def _ros(document: dict[str, Any], path: str) -> dict[str, Any]:
    return {
        "camera": _text(document.get("camera_name")),
        "width": _size(document.get("image_width", document.get("image_Width")), path),
        "height": _size(document.get("image_height", document.get("image_Height")), path),
        "camera_model": _text(document.get("camera_model")),
        "distortion_model": _text(document.get("distortion_model")),
        "d": _numbers(document.get("distortion_coefficients"), None, path, "distortion_coefficients"),
        "k": _numbers(document.get("camera_matrix"), 9, path, "camera_matrix"),
        "r": _numbers(document.get("rectification_matrix"), 9, path, "rectification_matrix"),
        "p": _numbers(document.get("projection_matrix"), 12, path, "projection_matrix"),
    }


def _kalibr(name: str, part: dict[str, Any], path: str) -> dict[str, Any]:
    where = f"{name}.intrinsics"
    intrinsics = _numbers(part["intrinsics"], None, path, where) or []
    model = _text(part.get("camera_model"))
    # Of omni and eucm models the first numbers are of the mirror: no pinhole matrix says the same.
    k = None
    if len(intrinsics) == 4:
        fu, fv, pu, pv = intrinsics
        k = [fu, 0.0, pu, 0.0, fv, pv, 0.0, 0.0, 1.0]
    elif model in ("pinhole", None):
        raise FileFormatError(f"{path}: {where} has {len(intrinsics)} numbers, a pinhole has fu, fv, pu, pv")
    width, height = [*(_numbers(part.get("resolution"), 2, path, f"{name}.resolution") or [None, None])]
    return {
        "camera": name,
        "width": _size(width, path),
        "height": _size(height, path),
        "camera_model": model,
        "distortion_model": _text(part.get("distortion_model")),
        "d": _numbers(part.get("distortion_coeffs"), None, path, f"{name}.distortion_coeffs"),
        "k": k,
        "t_cam_imu": _numbers(part.get("T_cam_imu"), 16, path, f"{name}.T_cam_imu"),
        "topic": _text(part.get("rostopic")),
    }


def _orb(document: dict[str, Any], prefix: str, path: str) -> dict[str, Any]:
    fx, fy, cx, cy = (_number(document.get(f"{prefix}.{n}"), path, f"{prefix}.{n}") for n in ("fx", "fy", "cx", "cy"))
    known = [document[f"{prefix}.{n}"] for n in ("k1", "k2", "p1", "p2", "k3", "k4") if f"{prefix}.{n}" in document]
    return {
        "camera": prefix,
        "width": _size(document.get("Camera.width"), path),
        "height": _size(document.get("Camera.height"), path),
        "camera_model": _text(document.get("Camera.type")),
        "d": _numbers(known, None, path, f"{prefix}.k1"),
        "k": [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
    }


_INI = {"camera matrix": ("k", 9), "distortion": ("d", None), "rectification": ("r", 9), "projection": ("p", 12)}


def _ini(text: bytes, path: str) -> list[dict[str, Any]]:
    """camera_calibration_parsers of ROS: `[image]` with the size, then a section a camera with its matrices."""
    try:
        lines = text.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path}: is not UTF-8 text: {error}") from None
    size: dict[str, int | None] = {}
    cameras: list[dict[str, Any]] = []
    section = key = None
    values: dict[str, list[float]] = {}
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        if line[0] == "[" and line[-1] == "]":
            section, key = line[1:-1].strip(), None
            if section not in ("image", "externals"):
                cameras.append({"camera": section, "distortion_model": "plumb_bob"})
        elif section == "image" and line.lower() in ("width", "height"):
            key = line.lower()
        elif section == "image" and key is not None:
            size[key] = _size(_number(line, path, f"line {number}"), path)
        elif cameras and section == cameras[-1]["camera"] and line.lower() in _INI:
            key = line.lower()
            values = cameras[-1].setdefault("_values", {})
            values[key] = []
        elif key is not None and key in _INI:
            values[key] += [_number(part, path, f"line {number}") for part in line.split()]
    for camera in cameras:
        for name, found in camera.pop("_values", {}).items():
            column, count = _INI[name]
            camera[column] = _numbers(found, count, path, f"{camera['camera']}: {name}")
        camera.update(size)
    if not cameras:
        raise FileFormatError(f"{path}: holds no calibration of a camera: it has no section but [image]")
    return cameras


def _numbers(value: Any, count: int | None, path: str, where: str) -> list[float] | None:
    """A matrix as its numbers by rows: a map with `data`, a list, or a list of lists."""
    if value is None:
        return None
    data = value.get("data") if isinstance(value, dict) else value
    flat = [n for row in data for n in (row if isinstance(row, list) else [row])] if isinstance(data, list) else None
    if flat is None or (count is not None and len(flat) != count):
        has = "no list of numbers" if flat is None else f"{len(flat)} numbers"
        raise FileFormatError(f"{path}: {where} has {has}" + ("" if count is None else f", not {count}"))
    if isinstance(value, dict) and all(isinstance(value.get(n), int) for n in ("rows", "cols")):
        if value["rows"] * value["cols"] != len(flat):
            raise FileFormatError(f"{path}: {where} says {value['rows']} x {value['cols']} and has {len(flat)} numbers")
    return [_number(n, path, where) for n in flat]


def _number(value: Any, path: str, where: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    raise FileFormatError(f"{path}: {where}: {str(value)[:60]!r} is no number")


def _size(value: Any, path: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1 << 31 and value == int(value):
        return int(value)
    raise FileFormatError(f"{path}: {str(value)[:60]!r} is no size in pixels")


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
