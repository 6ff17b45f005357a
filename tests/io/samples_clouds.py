"""Small cloud files of each format, and broken ones made of them."""

from __future__ import annotations

import io
import random
import struct

import laspy
import lzf
import numpy as np

POINTS = 40


def table(count: int = POINTS) -> np.ndarray:
    """Points with fields of several types, one of several numbers."""
    rng = np.random.default_rng(3)
    kind = [("x", "<f4"), ("y", "<f4"), ("z", "<f8"), ("ring", "u1"), ("label", "<i2"), ("normal", "<f4", 3)]
    made = np.zeros(count, kind)
    for name in ("x", "y", "z"):
        made[name] = np.round(rng.normal(0, 10, count), 3)
    made["ring"], made["label"] = np.arange(count) % 16, np.arange(count) - 20
    made["normal"] = rng.random((count, 3)).round(3)
    return made


def pcd(data: str, points: np.ndarray | None = None, **lines: str) -> bytes:
    """A PCD file; `lines` replace those of the header, "" leaves one out."""
    points = table() if points is None else points
    kinds = [points.dtype[name] for name in points.dtype.names or ()]
    said = {
        "VERSION": ".7",
        "FIELDS": " ".join(points.dtype.names or ()),
        "SIZE": " ".join(str(kind.base.itemsize) for kind in kinds),
        "TYPE": " ".join({"f": "F", "u": "U", "i": "I"}[kind.base.kind] for kind in kinds),
        "COUNT": " ".join(str(kind.shape[0] if kind.shape else 1) for kind in kinds),
        "WIDTH": str(len(points)), "HEIGHT": "1", "VIEWPOINT": "0 0 0 1 0 0 0", "POINTS": str(len(points)),
        "DATA": data, **lines,
    }  # fmt: skip
    head = "# .PCD v.7 - Point Cloud Data file format\n" + "".join(f"{k} {v}\n" for k, v in said.items() if v)
    if data == "ascii":
        rows = [
            " ".join(str(v) for name in points.dtype.names or () for v in np.atleast_1d(row[name])) for row in points
        ]
        return (head + "\n".join(rows) + "\n").encode()
    if data == "binary":
        return head.encode() + points.tobytes()
    columns = b"".join(np.ascontiguousarray(points[name]).tobytes() for name in points.dtype.names or ())
    small = lzf.compress(columns, len(columns) * 2 + 64)
    return head.encode() + struct.pack("<II", len(small), len(columns)) + small


_PLY = {"f4": "float", "f8": "double", "u1": "uchar", "i2": "short"}


def ply(data: str, points: np.ndarray | None = None, before: bool = False) -> bytes:
    """A PLY file with faces, and with an element of lists before the vertices if so asked."""
    points = np.array(table()[["x", "y", "z", "ring", "label"]].tolist(), [("x", "<f4"), ("y", "<f4"), ("z", "<f8"),
                      ("ring", "u1"), ("label", "<i2")]) if points is None else points  # fmt: skip
    order = ">" if data == "binary_big_endian" else "<"
    names = points.dtype.names or ()
    types = [_PLY[points.dtype[name].str[1:]] for name in names]
    strips = ["element strip 2", "property list uchar int ids", "property float weight"] if before else []
    head = "\n".join(
        ["ply", f"format {data} 1.0", "comment made for a test", "obj_info nothing", *strips,
         f"element vertex {len(points)}", *(f"property {t} {n}" for t, n in zip(types, names)),
         "element face 1", "property list uchar int vertex_indices", "end_header", ""]
    ).encode()  # fmt: skip
    if data == "ascii":
        rows = ["2 7 8 0.5", "0 1.5"] if before else []
        rows += [" ".join(str(value) for value in row) for row in points.tolist()] + ["3 0 1 2"]
        return head + "\n".join(rows).encode() + b"\n"
    strip = struct.pack(f"{order}B2ifBf", 2, 7, 8, 0.5, 0, 1.5) if before else b""
    return (
        head
        + strip
        + points.astype(points.dtype.newbyteorder(order)).tobytes()
        + struct.pack(f"{order}B3i", 3, 0, 1, 2)
    )


def las(version: str = "1.2", point_format: int = 3, compress: bool = False, count: int = POINTS, extra: bool = False,
        offset: float = 0.0) -> bytes:  # fmt: skip
    """A LAS or LAZ file, with extra dimensions if so asked."""
    header = laspy.LasHeader(version=version, point_format=point_format)
    header.scales, header.offsets = np.array([0.01, 0.01, 0.001]), np.array([100.0, 200.0, 0.0])
    if extra:
        header.add_extra_dims([
            laspy.ExtraBytesParams("range_m", np.int32, scales=np.array([0.5]), offsets=np.array([10.0])),
            laspy.ExtraBytesParams("beam", "3u2"), laspy.ExtraBytesParams("quality", np.float32),
        ])  # fmt: skip
    made = laspy.LasData(header)
    rng = np.random.default_rng(4)
    made.x, made.y, made.z = (rng.random(count) * 50 + at for at in (100 + offset, 200, 5))
    made.intensity = rng.integers(0, 65535, count)
    made.classification = rng.integers(0, 31, count)
    made.return_number = rng.integers(1, 5, count)
    if extra:
        made.range_m, made.quality = rng.integers(0, 100, count) * 0.5 + 10, rng.random(count)
        made.beam = rng.integers(0, 65535, (count, 3))
    out = io.BytesIO()
    made.write(out, do_compress=compress, laz_backend=laspy.LazBackend.Lazrs if compress else None)
    return out.getvalue()


def samples() -> dict[str, bytes]:
    """By a name with the extension of the format."""
    return {
        **{f"{data}.pcd": pcd(data) for data in ("ascii", "binary", "binary_compressed")},
        "old.pcd": pcd("ascii", table()[["x", "y"]].copy(), VERSION=".5", COUNT="", VIEWPOINT="", POINTS=""),
        **{f"{data}.ply": ply(data) for data in ("ascii", "binary_little_endian", "binary_big_endian")},
        "lists_before.ply": ply("binary_little_endian", before=True),
        "a.las": las(),
        "extra.las": las("1.4", 6, extra=True),
        "a.laz": las(compress=True, count=200),
        "layered.laz": las("1.4", 7, compress=True, count=200),
        "kitti.bin": np.arange(40, dtype="<f4").tobytes(),
    }


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, or the end cut off, or a piece doubled; most of it at the front, where headers are."""
    changed = bytearray(data)
    kind = rng.randrange(8)
    if kind == 0:
        return bytes(changed[: rng.randrange(len(changed))])
    if kind == 1:
        at = rng.randrange(len(changed))
        return bytes(changed[:at] + changed[at // 2 : at] + changed[at:])
    near = min(len(changed), 500 if kind < 6 else len(changed))
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(near)
        changed[at] = rng.choice((0, 255, 127, rng.randrange(256), changed[at] ^ 1 << rng.randrange(8), 0x39))
    return bytes(changed)
