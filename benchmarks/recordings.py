"""The logs that the benchmarks read: deterministic, made once by robodf's writer, kept in benchmarks/data/."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.measure import DATA
from robodf.io.mcap.writer import McapWriter

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

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


def topic_log(kind: str, messages: int) -> Path:
    """One topic `/data` of sensor_msgs or tf2 messages as a robot makes them, 100 a second, in zstd.

    imu: fixed layout but for the frame_id; joints: 14 names and three lists of 14; tf: four transforms; cloud: 20,000
    points of 16 bytes.
    """
    path = DATA / f"{kind}-{messages}.mcap"
    if not path.exists():
        store = _store()
        name, make = _KINDS[kind]
        rng = np.random.default_rng(5)
        with _Making(path, "zstd", 4 << 20, "ros2") as out:
            text = store.generate_msgdef(name, ros_version=2)[0].encode()
            channel = out.add_channel("/data", "cdr", out.add_schema(name, "ros2msg", text))
            for i in range(messages):
                time = START + i * 10_000_000
                out.write(channel, time, bytes(store.serialize_cdr(make(store, rng, time), name)), time, i)
    return path


def robot_log(minutes: int) -> Path:
    """A robot: /imu at 400 Hz, /joints at 200 Hz, /odom at 50 Hz, /camera stamps at 30 Hz, none in step."""
    path = DATA / f"robot-{minutes}.mcap"
    if not path.exists():
        store = _store()
        rng = np.random.default_rng(7)
        topics = {"/imu": ("imu", 400), "/joints": ("joints", 200), "/odom": ("odom", 50), "/camera": ("stamp", 30)}
        length = minutes * 60 * 1_000_000_000
        due = []
        for k, (topic, (_, rate)) in enumerate(topics.items()):
            times = START + k * 137_000 + np.arange(length * rate // 1_000_000_000) * 1_000_000_000 // rate
            due += [(int(t), topic) for t in times]
        due.sort()
        with _Making(path, "zstd", 4 << 20, "ros2") as out:
            channels = {}
            for topic, (kind, _) in topics.items():
                name = _KINDS[kind][0]
                text = store.generate_msgdef(name, ros_version=2)[0].encode()
                channels[topic] = out.add_channel(topic, "cdr", out.add_schema(name, "ros2msg", text))
            for i, (time, topic) in enumerate(due):
                name, make = _KINDS[topics[topic][0]]
                if topic == "/imu":
                    data = imu_cdr(time, rng.normal(0, 1, 10))
                else:
                    data = bytes(store.serialize_cdr(make(store, rng, time), name))
                out.write(channels[topic], time, data, time, i)
    return path


def _store() -> Typestore:
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_HUMBLE)


def _header(store: Typestore, time: int, frame: str) -> Any:
    stamp = store.types["builtin_interfaces/msg/Time"](sec=time // 10**9, nanosec=time % 10**9)
    return store.types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame)


def _vector(store: Typestore, values: np.ndarray, kind: str = "Vector3") -> Any:
    return store.types[f"geometry_msgs/msg/{kind}"](*map(float, values))


def _imu(store: Typestore, rng: np.random.Generator, time: int) -> Any:
    turn = rng.normal(0, 1, 4)
    return store.types["sensor_msgs/msg/Imu"](
        _header(store, time, "imu_link"), _vector(store, turn / np.linalg.norm(turn), "Quaternion"), np.zeros(9),
        _vector(store, rng.normal(0, 1, 3)), np.zeros(9), _vector(store, rng.normal(0, 1, 3)), np.zeros(9),
    )  # fmt: skip


def _joints(store: Any, rng: np.random.Generator, time: int) -> Any:
    names = [f"{side}_joint_{k}" for side in ("left", "right") for k in range(7)]
    values = rng.normal(0, 1, (3, 14))
    return store.types["sensor_msgs/msg/JointState"](_header(store, time, "base"), names, *values)


def _tf(store: Any, rng: np.random.Generator, time: int) -> Any:
    transforms = [
        store.types["geometry_msgs/msg/TransformStamped"](
            _header(store, time, parent), child,
            store.types["geometry_msgs/msg/Transform"](
                _vector(store, rng.normal(0, 1, 3)), _vector(store, np.array([0, 0, 0, 1]), "Quaternion")),
        )
        for parent, child in (("map", "odom"), ("odom", "base_link"), ("base_link", "lidar"), ("base_link", "camera"))
    ]  # fmt: skip
    return store.types["tf2_msgs/msg/TFMessage"](transforms)


def _cloud(store: Any, rng: np.random.Generator, time: int) -> Any:
    field = store.types["sensor_msgs/msg/PointField"]
    fields = [field(name, 4 * k, 7, 1) for k, name in enumerate(("x", "y", "z", "intensity"))]
    data = rng.normal(0, 10, (20_000, 4)).astype("<f4").view(np.uint8).reshape(-1)
    return store.types["sensor_msgs/msg/PointCloud2"](
        _header(store, time, "lidar"), 1, 20_000, fields, False, 16, 320_000, data, True)  # fmt: skip


def _odometry(store: Typestore, rng: np.random.Generator, time: int) -> Any:
    types = store.types
    pose = types["geometry_msgs/msg/Pose"](
        _vector(store, rng.normal(0, 1, 3), "Point"), _vector(store, np.array([0, 0, 0, 1]), "Quaternion"))  # fmt: skip
    twist = types["geometry_msgs/msg/Twist"](_vector(store, rng.normal(0, 1, 3)), _vector(store, rng.normal(0, 1, 3)))
    return types["nav_msgs/msg/Odometry"](
        _header(store, time, "odom"), "base_link",
        types["geometry_msgs/msg/PoseWithCovariance"](pose, np.zeros(36)),
        types["geometry_msgs/msg/TwistWithCovariance"](twist, np.zeros(36)),
    )  # fmt: skip


_KINDS: dict[str, tuple[str, Callable[..., Any]]] = {
    "imu": ("sensor_msgs/msg/Imu", _imu),
    "joints": ("sensor_msgs/msg/JointState", _joints),
    "tf": ("tf2_msgs/msg/TFMessage", _tf),
    "cloud": ("sensor_msgs/msg/PointCloud2", _cloud),
    "odom": ("nav_msgs/msg/Odometry", _odometry),
    "stamp": ("std_msgs/msg/Header", lambda store, rng, time: _header(store, time, "camera")),
}


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

    def __init__(self, path: Path, compression: str, chunk_size: int = 1 << 20, profile: str = ""):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._part = path, path.with_suffix(".part")
        self._writer = McapWriter(self._part, compression, chunk_size, profile)

    def __enter__(self) -> McapWriter:
        return self._writer.__enter__()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._writer.__exit__(kind, *rest)  # type: ignore[arg-type]
        if kind is None:
            os.replace(self._part, self._path)
