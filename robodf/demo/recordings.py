"""A small but real set of robot recordings: ROS 2 messages in chunked, compressed MCAP files, and their episodes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from robodf.errors import OptionError
from robodf.io.mcap.writer import McapWriter

START = datetime(2026, 3, 2, 9, 0)
"""UTC; the recordings start ten minutes apart."""

APART = timedelta(minutes=10)
IMU_HZ, JOINTS_HZ, CAPTION_HZ = 200, 50, 1.0
CHUNK_SIZE = 32 << 10  # bytes before compression: half a second of messages, so that an index can skip something
EPISODE_SECONDS = 8.0

_NS = 1_000_000_000
_JOINTS = ["shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3", "gripper"]
_TASKS = ["pick", "place", "open", "push", "pour"]
_OBJECTS = ["red cube", "blue bowl", "steel bolt", "paper cup", "lid", "green bottle"]
_PLACES = ["on the left", "on the right", "by the tray", "under the lamp", "near the edge"]
_CAPTION_SCHEMA = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "quality": {"type": "number"},
        "episode": {"type": "integer"},
    },
    "required": ["text", "quality", "episode"],
}


@dataclass(frozen=True)
class Recordings:
    """What was written: the folder of the MCAP files, the files in order, the Parquet table of episodes."""

    folder: Path
    logs: tuple[Path, ...]
    episodes: Path


def write_recordings(
    folder: str | os.PathLike[str], recordings: int = 3, seconds: float = 40.0, seed: int = 0
) -> Recordings:
    """Write `recordings` MCAP files of `seconds` each and `episodes.parquet`; the same arguments give the same bytes.

    Each file has /imu (sensor_msgs/msg/Imu, 200 Hz, CDR), /joint_states (sensor_msgs/msg/JointState, 50 Hz, CDR) and
    /caption (JSON: text, quality, episode; 1 Hz), in chunks of 32 KiB, compressed by zstd and lz4 in turn. A third
    of the captions repeats an earlier one word for word, mostly of another file. The table has recording, episode,
    task and success, one row for every 8 seconds.

    >>> import tempfile, robodf as rd
    >>> made = write_recordings(tempfile.mkdtemp(), recordings=1, seconds=2)
    >>> rd.open_log(made.folder).topics.select("topic", "count").rows()
    [('/caption', 2), ('/imu', 400), ('/joint_states', 100)]
    """
    if recordings < 1 or seconds <= 0:
        raise OptionError(f"write_recordings: {recordings} recordings of {seconds} seconds; both must be above 0")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    tasks = [[_TASKS[i] for i in rng.integers(len(_TASKS), size=_count(seconds, 1 / EPISODE_SECONDS))]
             for _ in range(recordings)]  # fmt: skip
    captions = _captions(tasks, _count(seconds, CAPTION_HZ), rng)
    logs, episodes = [], []
    for k in range(recordings):
        path = folder / f"run_{k + 1:02d}.mcap"
        log = _Log(("zstd", "lz4")[k % 2], START + k * APART, seconds, captions[k], rng)
        _whole(path, log.write)
        logs.append(path)
        for episode, task in enumerate(tasks[k]):
            episodes.append(
                {"recording": path.stem, "episode": episode, "task": task, "success": bool(rng.random() < 0.7)}
            )
    table = folder / "episodes.parquet"
    _whole(table, pl.DataFrame(episodes).write_parquet)
    return Recordings(folder, tuple(logs), table)


def _whole(path: Path, write: Callable[[Path], None]) -> None:
    """Write beside the target and rename: a run that is stopped leaves no half file under the name."""
    part = path.with_name(f".{path.name}.part")
    try:
        write(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _count(seconds: float, hz: float) -> int:
    return max(1, int(seconds * hz))


def _episode(caption: int) -> int:
    """The episode of the n-th caption of a recording."""
    return int(caption / CAPTION_HZ // EPISODE_SECONDS)


def _captions(tasks: list[list[str]], count: int, rng: np.random.Generator) -> list[list[str]]:
    """`count` sentences for each recording about the task at that time; every third repeats an earlier one."""
    fresh = {
        task: [f"{task} the {_OBJECTS[i // len(_PLACES)]} {_PLACES[i % len(_PLACES)]}"
               for i in rng.permutation(len(_OBJECTS) * len(_PLACES))]
        for task in _TASKS
    }  # fmt: skip
    said: dict[str, list[str]] = {task: [] for task in _TASKS}
    made = []
    for episodes in tasks:
        texts = []
        for i in range(count):
            task = episodes[min(_episode(i), len(episodes) - 1)]
            before = said[task]
            repeated = before and (i % 3 == 2 or not fresh[task])
            text = before[int(rng.integers(len(before)))] if repeated else fresh[task].pop()
            before.append(text)
            texts.append(text)
        made.append(texts)
    return made


@dataclass(frozen=True)
class _Log:
    """One recording."""

    compression: str
    start: datetime
    seconds: float
    captions: list[str]
    rng: np.random.Generator

    def write(self, path: Path) -> None:
        from rosbags.typesys import Stores, get_typestore

        store = get_typestore(Stores.ROS2_HUMBLE)
        first = int((self.start - datetime(1970, 1, 1)).total_seconds()) * _NS
        with McapWriter(path, self.compression, CHUNK_SIZE, profile="ros2") as writer:
            channels = {}
            for topic, name in (("/imu", "sensor_msgs/msg/Imu"), ("/joint_states", "sensor_msgs/msg/JointState")):
                text = store.generate_msgdef(name, ros_version=2)[0]
                schema = writer.add_schema(name, "ros2msg", text.encode())
                channels[topic] = writer.add_channel(topic, "cdr", schema)
            schema = writer.add_schema("Caption", "jsonschema", json.dumps(_CAPTION_SCHEMA).encode())
            channels["/caption"] = writer.add_channel("/caption", "json", schema)

            made = {
                "/imu": (IMU_HZ, _imu(store, first, self.seconds, self.rng)),
                "/joint_states": (JOINTS_HZ, _joints(store, first, self.seconds, self.rng)),
                "/caption": (CAPTION_HZ, _caption_messages(self.captions, self.rng)),
            }
            messages = [
                (first + int(i / hz * _NS), topic, i, data)
                for topic, (hz, payloads) in made.items()
                for i, data in enumerate(payloads)
            ]
            for time, topic, sequence, data in sorted(messages, key=lambda m: m[:2]):
                writer.write(channels[topic], time, data, sequence=sequence)


def _header(store: Any, time: int, frame: str) -> Any:
    stamp = store.types["builtin_interfaces/msg/Time"](sec=time // _NS, nanosec=time % _NS)
    return store.types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame)


def _imu(store: Any, first: int, seconds: float, rng: np.random.Generator) -> Iterator[bytes]:
    """An arm that swings about the vertical axis, with the noise and the resolution of a small IMU."""
    message, vector, quaternion = (
        store.types[name]
        for name in ("sensor_msgs/msg/Imu", "geometry_msgs/msg/Vector3", "geometry_msgs/msg/Quaternion")
    )
    t = np.arange(_count(seconds, IMU_HZ)) / IMU_HZ
    yaw = 0.6 * np.sin(0.8 * t)
    rate = np.gradient(yaw, t) if len(t) > 1 else np.zeros(1)
    gyro = np.round(np.stack([0 * t, 0 * t, rate], 1) + rng.normal(0, 0.004, (len(t), 3)), 4)
    force = np.round(np.stack([0 * t, 0.3 * rate**2, 0 * t + 9.81], 1) + rng.normal(0, 0.03, (len(t), 3)), 3)
    spread = [np.diag([v] * 3).ravel() for v in (1e-4, 1.6e-5, 9e-4)]
    for i in range(len(t)):
        half = float(yaw[i]) / 2
        yield store.serialize_cdr(
            message(
                header=_header(store, first + i * _NS // IMU_HZ, "imu_link"),
                orientation=quaternion(x=0.0, y=0.0, z=round(math.sin(half), 6), w=round(math.cos(half), 6)),
                orientation_covariance=spread[0],
                angular_velocity=vector(*gyro[i].tolist()),
                angular_velocity_covariance=spread[1],
                linear_acceleration=vector(*force[i].tolist()),
                linear_acceleration_covariance=spread[2],
            ),
            "sensor_msgs/msg/Imu",
        )


def _joints(store: Any, first: int, seconds: float, rng: np.random.Generator) -> Iterator[bytes]:
    message = store.types["sensor_msgs/msg/JointState"]
    phase = rng.uniform(0, 2 * np.pi, len(_JOINTS))
    for i in range(_count(seconds, JOINTS_HZ)):
        angle = 0.5 * i / JOINTS_HZ + phase
        yield store.serialize_cdr(
            message(
                header=_header(store, first + i * _NS // JOINTS_HZ, "base_link"),
                name=_JOINTS,
                position=np.round(np.sin(angle), 5),
                velocity=np.round(0.5 * np.cos(angle), 5),
                effort=np.round(rng.normal(2, 0.2, len(_JOINTS)), 3),
            ),
            "sensor_msgs/msg/JointState",
        )


def _caption_messages(captions: list[str], rng: np.random.Generator) -> Iterator[bytes]:
    for i, text in enumerate(captions):
        message = {"text": text, "quality": round(float(rng.beta(5, 2)), 2), "episode": _episode(i)}
        yield json.dumps(message).encode()
