"""The logs that the benchmarks read: deterministic, made once by robodf's writer, kept in benchmarks/data/."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np

from benchmarks.measure import DATA
from robodf.io.mcap.writer import McapWriter

START = 1_750_000_000_000_000_000  # ns
IMU_HZ = 200
_FRAME = 100_000  # bytes

_POSE_SCHEMA = json.dumps({
    "type": "object",
    "properties": {"x": {"type": "number"}, "y": {"type": "number"},
                   "ok": {"type": "boolean"}, "name": {"type": "string"}},
}).encode()  # fmt: skip

_IMU_SCHEMA = b"""\
std_msgs/Header header
geometry_msgs/Quaternion orientation
float64[9] orientation_covariance
geometry_msgs/Vector3 angular_velocity
float64[9] angular_velocity_covariance
geometry_msgs/Vector3 linear_acceleration
float64[9] linear_acceleration_covariance
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
================================================================================
MSG: geometry_msgs/Quaternion
float64 x
float64 y
float64 z
float64 w
================================================================================
MSG: geometry_msgs/Vector3
float64 x
float64 y
float64 z
"""

_BLOB_SCHEMA = b"uint8[] data\n"


def small_messages(messages: int, compression: str) -> Path:
    """Half JSON of about 60 bytes on /pose, half CDR sensor_msgs/Imu (324 bytes) on /imu, 1 kHz in all."""
    path = DATA / f"small-{messages}-{compression}.mcap"
    if not path.exists():
        with _Making(path, compression) as out:
            pose = out.add_channel("/pose", "json", out.add_schema("Pose", "jsonschema", _POSE_SCHEMA))
            imu = out.add_channel("/imu", "cdr", out.add_schema("sensor_msgs/msg/Imu", "ros2msg", _IMU_SCHEMA))
            values = _values(messages)
            for i in range(messages):
                time = START + i * 1_000_000
                if i % 2:
                    out.write(imu, time, imu_cdr(time, values[i]), time - 50_000, i)
                else:
                    x, y = values[i][:2].tolist()
                    ok = "true" if x > 0 else "false"
                    text = f'{{"x": {x:.6f}, "y": {y:.6f}, "ok": {ok}, "name": "pose {i % 100}"}}'
                    out.write(pose, time, text.encode(), time - 50_000, i)
    return path


def camera_log(seconds: int) -> Path:
    """A log as a robot makes it: /camera of 30 frames a second of 100 kB that do not compress, /imu at 200 Hz."""
    path = DATA / f"camera-{seconds}.mcap"
    if not path.exists():
        noise = np.random.default_rng(3)
        with _Making(path, "zstd", chunk_size=4 << 20) as out:
            camera = out.add_channel("/camera", "cdr", out.add_schema("bench_msgs/msg/Blob", "ros2msg", _BLOB_SCHEMA))
            imu = out.add_channel("/imu", "cdr", out.add_schema("sensor_msgs/msg/Imu", "ros2msg", _IMU_SCHEMA))
            values = _values(seconds * IMU_HZ)
            shot = 0
            for i in range(seconds * IMU_HZ):
                time = START + i * 1_000_000_000 // IMU_HZ
                if i * 30 // IMU_HZ >= shot:
                    blob = b"\0\1\0\0" + struct.pack("<I", _FRAME) + noise.bytes(_FRAME)
                    out.write(camera, time, blob, time, shot)
                    shot += 1
                out.write(imu, time, imu_cdr(time, values[i]), time, i)
    return path


def imu_cdr(time: int, values: np.ndarray) -> bytes:
    """A sensor_msgs/Imu; the ten values are orientation, angular velocity and acceleration."""
    head = b"\0\1\0\0" + struct.pack("<iII5s3x", time // 10**9, time % 10**9, 5, b"base\0")
    zeros = bytes(72)
    raw = values.tobytes()
    # CDR aligns from behind its 4-byte header: 4 + 4 + 4 + 5 bytes, then doubles from byte 24 on.
    return head + bytes(4) + raw[:32] + zeros + raw[32:56] + zeros + raw[56:80] + zeros


def _values(rows: int) -> np.ndarray:
    return np.random.default_rng(11).normal(0, 1, (rows, 10))


class _Making:
    """A writer into a file that gets its name when it is whole."""

    def __init__(self, path: Path, compression: str, chunk_size: int = 1 << 20):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._part = path, path.with_suffix(".part")
        self._writer = McapWriter(self._part, compression, chunk_size)

    def __enter__(self) -> McapWriter:
        return self._writer.__enter__()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._writer.__exit__(kind, *rest)  # type: ignore[arg-type]
        if kind is None:
            os.replace(self._part, self._path)
