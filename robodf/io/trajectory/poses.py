"""Trajectory files as one row a pose."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from robodf.errors import FileFormatError
from robodf.io.files import open_file
from robodf.io.indexed_files import IndexedFiles
from robodf.io.text import text_lines

if TYPE_CHECKING:
    import numpy as np

_WORDS = {8: "tum", 12: "kitti"}
_SECONDS = re.compile(r"(-?)(\d{1,12})(?:\.(\d*))?")
_FARTHEST = 1 << 63  # nanoseconds
_TOLERANCE = 1e-2  # by which the product of a rotation with its transpose may differ from one

_POSE = {
    "pose": pl.UInt32(),
    "time": pl.Datetime("ns"),
    "position": pl.Struct({axis: pl.Float64() for axis in "xyz"}),
    "orientation": pl.Struct({axis: pl.Float64() for axis in "xyzw"}),
}


class _Pose(NamedTuple):
    time: int | None
    position: tuple[float, float, float]
    orientation: tuple[float, float, float, float]


@dataclass(frozen=True)
class PoseFiles(IndexedFiles):
    """Poses in the order of the lines. Nothing of a file is worth reading late."""

    format: str | None = None

    @property
    def name(self) -> str:
        return "trajectory"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        return {"path": pl.String(), **_POSE}

    @property
    def heavy(self) -> frozenset[str]:
        return frozenset()

    def index(self, path: str, columns: tuple[str, ...]) -> pl.DataFrame:
        poses: list[_Pose] = []
        format = self.format
        for number, line in self._lines(path):
            try:
                words = line.replace(",", " ").split()
                format = format or _format(words, line)
                poses.append({"tum": _tum, "kitti": _kitti, "euroc": _euroc}[format](words))
            except ValueError as error:
                what = f"{path}: line {number}: {error}: {line[:80]!r}"
                if self.on_error == "raise" or format is None:
                    raise FileFormatError(what) from None
                self.log.add(path, what)
        times, positions, orientations = zip(*poses) if poses else ((), (), ())
        structs = {
            name: pl.DataFrame(list(rows), dict(_POSE[name].to_schema()), orient="row").to_struct(name)  # type: ignore[attr-defined]
            for name, rows in (("position", positions), ("orientation", orientations))
        }
        return pl.DataFrame(
            {
                "pose": pl.int_range(len(poses), dtype=pl.UInt32, eager=True),
                "time": pl.Series(times, dtype=pl.Int64).cast(pl.Datetime("ns")),
                **structs,
            }
        )

    def read_rows(self, path: str, rows: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        raise AssertionError("a trajectory has no heavy columns")

    def _lines(self, path: str) -> Iterator[tuple[int, str]]:
        """The lines that say something, with their numbers from 1."""
        with open_file(path, dict(self.storage)) as file:
            if b"\0" in file.read_at(0, min(4096, file.size)):
                raise FileFormatError(f"{path}: is no text")
        for frame in text_lines([path], "utf-8", dict(self.storage))._batches():
            for number, text in frame.select("line", "text").iter_rows():
                text = text.lstrip("\ufeff").strip()
                if text and not text.startswith("#"):
                    yield number, text


def _format(words: list[str], line: str) -> str:
    if "," in line and len(words) >= 8:
        return "euroc"
    if len(words) not in _WORDS:
        raise ValueError(f"{len(words)} words are neither the 8 of TUM nor the 12 of KITTI; pass format=")
    return _WORDS[len(words)]


def _tum(words: list[str]) -> _Pose:
    if len(words) != 8:
        raise ValueError(f"{len(words)} words, where TUM has 8")
    x, y, z, qx, qy, qz, qw = map(_number, words[1:])
    return _Pose(_nanoseconds(words[0]), (x, y, z), (qx, qy, qz, qw))


def _euroc(words: list[str]) -> _Pose:
    if len(words) < 8:
        raise ValueError(f"{len(words)} words, where EuRoC has 8 or more")
    if not re.fullmatch(r"-?\d{1,19}", words[0]) or abs(int(words[0])) >= _FARTHEST:
        raise ValueError(f"{words[0][:40]!r} is no time in nanoseconds")
    x, y, z, qw, qx, qy, qz = map(_number, words[1:8])
    return _Pose(int(words[0]), (x, y, z), (qx, qy, qz, qw))


def _kitti(words: list[str]) -> _Pose:
    if len(words) != 12:
        raise ValueError(f"{len(words)} words, where KITTI has 12")
    m = [_number(word) for word in words]
    rows = (m[0:3], m[4:7], m[8:11])
    return _Pose(None, (m[3], m[7], m[11]), _quaternion(rows))


def _number(word: str) -> float:
    if "_" in word:  # Python takes 1_0 for ten
        raise ValueError(f"{word[:40]!r} is no number")
    try:
        return float(word)
    except ValueError:
        raise ValueError(f"{word[:40]!r} is no number") from None


def _nanoseconds(text: str) -> int:
    """Seconds as written, to nanoseconds: what is finer is cut off."""
    found = _SECONDS.fullmatch(text)
    if found is not None:
        sign, whole, parts = found.groups()
        time = int(whole) * 1_000_000_000 + int((parts or "")[:9].ljust(9, "0"))
        time = -time if sign else time
    else:
        try:
            exact = Decimal(text) if len(text) <= 64 and "_" not in text else Decimal("NaN")
        except InvalidOperation:
            exact = Decimal("NaN")
        if not exact.is_finite() or abs(exact) > _FARTHEST:
            raise ValueError(f"{text[:40]!r} is no time in seconds")
        time = int(exact.scaleb(9))
    if abs(time) >= _FARTHEST:
        raise ValueError(f"{text[:40]!r} seconds are more than nanoseconds can count")
    return time


def _quaternion(m: tuple[list[float], list[float], list[float]]) -> tuple[float, float, float, float]:
    """Of a rotation matrix, as S. W. Shepperd, "Quaternion from rotation matrix" (1978), takes it: by the largest."""
    products = [[sum(a * b for a, b in zip(u, v)) for v in m] for u in m]
    off = max(abs(products[i][j] - (i == j)) for i in range(3) for j in range(3))
    turn = (
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
        - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
        + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    )
    if not off <= _TOLERANCE or turn < 0:
        raise ValueError("the first, second and third number of each row are no rotation")
    trace = m[0][0] + m[1][1] + m[2][2]
    fours = (trace, m[0][0], m[1][1], m[2][2])
    k = max(range(4), key=fours.__getitem__)
    if k == 0:
        w, x, y, z = 1 + trace, m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]
    elif k == 1:
        w, x, y, z = m[2][1] - m[1][2], 1 + 2 * m[0][0] - trace, m[0][1] + m[1][0], m[0][2] + m[2][0]
    elif k == 2:
        w, x, y, z = m[0][2] - m[2][0], m[0][1] + m[1][0], 1 + 2 * m[1][1] - trace, m[1][2] + m[2][1]
    else:
        w, x, y, z = m[1][0] - m[0][1], m[0][2] + m[2][0], m[1][2] + m[2][1], 1 + 2 * m[2][2] - trace
    length = math.copysign(math.sqrt(w * w + x * x + y * y + z * z), w)
    return x / length, y / length, z / length, w / length
