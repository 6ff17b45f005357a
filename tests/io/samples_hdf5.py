"""Small HDF5 files of every kind that robodf reads, made by h5py."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np


def demos(file: h5py.File, count: int = 3, **options: Any) -> None:
    """As Isaac Lab and robomimic write them: `count` demos of 5, 6, 7, 8, 5, ... steps."""
    random = np.random.default_rng(7)
    data = file.create_group("data")
    data.attrs["total"] = 9999  # wrong, as in real files
    data.attrs["env_args"] = '{"env_name": "lift"}'
    for k in range(count):
        steps = 5 + k % 4
        demo = data.create_group(f"demo_{k}")
        demo.attrs["num_samples"] = steps
        demo.attrs["success"] = bool(k % 2)
        demo.attrs["task"] = "lift"
        demo.create_dataset("actions", data=random.random((steps, 7), "f4"), **options)
        demo.create_dataset("rewards", data=random.random(steps), **options)
        demo.create_dataset("obs/eef_pos", data=random.random((steps, 3)), **options)
        demo.create_dataset("obs/agentview", data=random.integers(0, 255, (steps, 16, 20, 3), np.uint8), **options)
        demo["obs/gripped"] = random.random(steps) > 0.5
        demo["states/cube"] = random.random((steps, 2, 2), "f4")
        demo["initial_state/pose"] = random.random((1, 7), "f4")
        demo["seed"] = np.int64(k)
    file["mask/train"] = np.array([f"demo_{k}".encode() for k in range(0, count, 2)])
    file["mask/valid"] = [f"demo_{k}" for k in range(1, count, 2)]


def aloha(file: h5py.File) -> None:
    """As mobile ALOHA writes an episode: encoded images with zeros up to the longest."""
    random = np.random.default_rng(8)
    file.attrs["compress"] = True
    file["action"] = random.random((6, 14))
    file["base_action"] = random.random((6, 2))
    file["observations/qpos"] = random.random((6, 14))
    lengths = random.integers(140, 180, 6)
    padded = np.zeros((6, 200), np.uint8)
    for row, length in zip(padded, lengths):
        row[:length] = random.integers(0, 255, length)
        row[:3], row[length - 2 : length] = (0xFF, 0xD8, 0xFF), (0xFF, 0xD9)
    file.create_dataset("observations/images/cam_high", data=padded, chunks=(1, 200))
    file["compress_len"] = lengths[None].astype("f4")


def tables(file: h5py.File) -> None:
    """Datasets of many types."""
    random = np.random.default_rng(9)
    record = np.dtype([("id", "<u4"), ("pose", "<f8", (3,)), ("name", "S5"), ("inner", [("ok", "?"), ("x", ">i2")])])
    rows = np.zeros(9, record)
    rows["id"], rows["pose"], rows["name"], rows["inner"]["x"] = range(9), random.random((9, 3)), b"ab", range(-4, 5)
    file["records"] = rows
    file["texts"] = ["", "é", "long " * 40]
    file["bytes"] = np.array([b"a", b"bcd"], "S4")
    file.create_dataset("grid", data=random.random((23, 11)), chunks=(4, 3), compression="gzip", shuffle=True)
    file.create_dataset("checked", data=random.random((30, 2)), chunks=(7, 2), fletcher32=True)
    file.create_dataset("lzf", data=np.arange(4000).reshape(400, 10), chunks=(50, 10), compression="lzf")
    file.create_dataset("unwritten", (12, 2), "f4", chunks=(5, 2), fillvalue=1.5)
    file.create_dataset("big_endian", data=np.arange(5, dtype=">i8"))
    file.create_dataset("half", data=np.arange(5, dtype="f2"))
    file["scalar"] = 4.5
    file["empty"] = h5py.Empty("f4")
    blobs = file.create_dataset("blobs", 3, h5py.vlen_dtype(np.uint8))
    for k in range(3):
        blobs[k] = np.arange(k * 4, dtype=np.uint8)
    file["colors"] = np.array([0, 1, 2], h5py.enum_dtype({"red": 0, "green": 1, "blue": 2}, basetype="u1"))
    file["numbers"] = np.dtype("<i4")  # a type with a name
    file.create_dataset("named", data=[1, 2], dtype=file["numbers"])
    file["records"].attrs["rate"] = 50.0
    file["records"].attrs["names"] = ["a", "b"]


def made(write: Callable[..., None], libver: str | None = None, **options: Any) -> bytes:
    """The bytes of a file."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=libver) as file:
        write(file, **options)
    return buffer.getvalue()


def samples() -> dict[str, bytes]:
    """Files by name: each is read by `rd.read_hdf5` as it is, but for those that begin with "tables"."""
    return {
        "demos.hdf5": made(demos),
        "demos_20.hdf5": made(demos, count=20),
        "demos_gzip.hdf5": made(demos, count=12, compression="gzip", shuffle=True),
        "demos_latest.hdf5": made(demos, libver="latest", count=12),
        "demos_latest_gzip.hdf5": made(demos, libver="latest", compression="gzip"),
        "aloha.hdf5": made(aloha),
        "tables.h5": made(tables),
        "tables_latest.h5": made(tables, libver="latest"),
    }
