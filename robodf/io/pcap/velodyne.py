"""Captures of Velodyne lidars as one row a scan, which is one turn of the sensor.

The index looks at the azimuth of each packet alone, and at its last byte, which names the model; velodyne-decoder makes
points of the packets of the scans that are wanted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from robodf.errors import FileFormatError, OptionError
from robodf.io.pcap.files import PcapFiles

if TYPE_CHECKING:
    import numpy as np

    from robodf.io.pcap.capture import Packets

MODELS = ("HDL32E", "HDL64E_S1", "HDL64E_S2", "HDL64E_S3", "PuckHiRes", "VLP16", "VLP32A", "VLP32B", "VLP32C",
          "VLS128")  # fmt: skip
"""The names of velodyne-decoder."""

SIZE, BLOCKS = 1206, 12
"""Bytes of the payload of a data packet, and blocks in it; those of the position packets are 512 bytes."""

_BY_BYTE = {0x21: "HDL32E", 0x22: "VLP16", 0x24: "PuckHiRes", 0x28: "VLP32C", 0xA1: "VLS128"}
_FLAGS = {"VLS128": (0xEEFF, 0xDDFF, 0xCCFF, 0xBBFF), "HDL64E": (0xEEFF, 0xDDFF)}
_ANY_FLAG = _FLAGS["VLS128"]
_TURN = 36_000  # hundredths of a degree
_LONGEST = 300_000_000  # ns of a scan: sensors turn 5 times a second or more
_AT_ONCE, _GAP = 64 << 20, 64 << 10  # bytes

_POINT = {
    "x": pl.Float32(), "y": pl.Float32(), "z": pl.Float32(), "intensity": pl.Float32(), "time": pl.Float32(),
    "column": pl.UInt16(), "ring": pl.UInt8(), "return_type": pl.UInt8(),
}  # fmt: skip

_SCAN = {
    "scan": pl.UInt32(),
    "time": pl.Datetime("ns"),
    "end_time": pl.Datetime("ns"),
    "packets": pl.UInt32(),
    "model": pl.String(),
    "src": pl.String(),
    "dst_port": pl.UInt16(),
}


class _Data(NamedTuple):
    """Data packets, an array of each fact: where the payload lies in the file, and what its bytes say."""

    number: np.ndarray
    offset: np.ndarray
    time: np.ndarray
    azimuth: np.ndarray  # of the last block
    product: np.ndarray
    flags: np.ndarray  # of the blocks, in two dimensions
    most: np.ndarray  # the greatest azimuth


@dataclass(frozen=True)
class VelodyneFiles(PcapFiles):
    """Scans in the order of their first packets; those of each sensor, by address and port, are apart."""

    model: str | None = None
    calibration: str | None = None
    min_range: float = 0.1
    max_range: float = 200.0
    cut_angle: float | None = None
    port: int | None = None

    @property
    def name(self) -> str:
        return "velodyne"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        return {"path": pl.String(), **_SCAN, "cloud": pl.List(pl.Struct(_POINT))}

    @property
    def heavy(self) -> frozenset[str]:
        return frozenset(["cloud"])

    def index(self, path: str, columns: tuple[str, ...]) -> pl.DataFrame:
        parts = []
        for (src, port), data in self._sensors(path).items():
            data = self._checked(path, data)
            if data is None:
                continue
            model = self._model(path, data)
            rows = pl.DataFrame({"_offsets": data.offset, "time": data.time}).with_columns(
                group=pl.Series(_scans(data.azimuth.tolist(), data.time.tolist(), self._cut)).cast(pl.UInt32)
            )
            parts.append(
                rows.group_by("group", maintain_order=True)
                .agg(
                    pl.col("time").first().cast(pl.Datetime("ns")),
                    pl.col("time").last().cast(pl.Datetime("ns")).alias("end_time"),
                    pl.len().cast(pl.UInt32).alias("packets"),
                    pl.col("_offsets"),
                    pl.col("time").alias("_times"),
                )
                .with_columns(model=pl.lit(model), src=pl.lit(src), dst_port=pl.lit(port, pl.UInt16))
                .drop("group")
            )
        if not parts:
            raise FileFormatError(f"{path}: has no data packets of a Velodyne lidar (UDP payloads of {SIZE} bytes)"
                                  + (f" to port {self.port}" if self.port is not None else ""))  # fmt: skip
        scans = pl.concat(parts).sort(pl.col("_offsets").list.first(), maintain_order=True)
        return scans.with_columns(pl.int_range(pl.len(), dtype=pl.UInt32).alias("scan"))

    def read_rows(self, path: str, rows: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        from robodf.io.pcap.opening import open_capture

        scans = self.index_of(path, ())[rows].select("_offsets", "_times", "model")
        with open_capture(path, dict(self.storage)) as file:
            for offsets, times, model in scans.iter_rows():
                packets = self._payloads(file, offsets)
                yield pl.DataFrame({"cloud": self._cloud(path, list(zip(times, packets)), model)})

    # -- packets ----------------------------------------------------------------------------------------------

    def _sensors(self, path: str) -> dict[tuple[str, int], _Data]:
        """The packets that may be data, of each sensor in order."""
        import numpy as np

        from robodf.io.pcap.capture import Damage, packets
        from robodf.io.pcap.layers import layers
        from robodf.io.pcap.opening import open_capture

        found: dict[tuple[str, int], list[_Data]] = {}
        done = 0
        with open_capture(path, dict(self.storage)) as file:
            try:
                for some in packets(file):
                    inside = layers(some)
                    at = np.flatnonzero((inside.payload >= 0) & (inside.size == SIZE))
                    who = inside.table[at].select("src", "dst_port")
                    data = _data(some, at, inside.payload[at], done)
                    done += len(some.at)
                    for (src, port), rows in who.with_row_index("row").group_by("src", "dst_port", maintain_order=True):
                        if self.port is None or port == self.port:
                            of = rows.get_column("row").to_numpy()
                            found.setdefault((src, port), []).append(_Data(*(fact[of] for fact in data)))
            except Damage as error:
                if self.on_error == "raise":
                    raise
                self.log.add(path, str(error))
        return {who: _Data(*map(np.concatenate, zip(*parts))) for who, parts in found.items()}

    def _checked(self, path: str, data: _Data) -> _Data | None:
        """The packets that the decoder can be given; None where none is of a Velodyne lidar.

        It looks up lasers by the flags of blocks, and angles by their azimuths.
        """
        import numpy as np

        sound = np.isin(data.flags, _ANY_FLAG).all(axis=1) & (data.most < _TURN)
        if not sound.any():
            return None
        model = self._model(path, _Data(*(fact[sound] for fact in data)))
        flags = _FLAGS.get(model.split("_")[0], (0xEEFF,))
        sound &= np.isin(data.flags, flags).all(axis=1)
        if self.model is None:
            sound &= np.array([_BY_BYTE.get(byte) == model for byte in data.product.tolist()])
        for k in np.flatnonzero(~sound).tolist():
            what = f"{path}: packet {data.number[k]} at offset {data.offset[k]} is no sound data packet of a {model}"
            if self.on_error == "raise":
                raise FileFormatError(what)
            self.log.add(path, what, offset=int(data.offset[k]))
        timed = data.time != np.iinfo(np.int64).min
        if not timed.all():
            raise FileFormatError(f"{path}: packets without a time are no scans")
        return _Data(*(fact[sound] for fact in data)) if sound.any() else None

    def _model(self, path: str, data: _Data) -> str:
        """As said, or as the last byte of most packets names it."""
        import numpy as np

        if self.model is not None:
            return self.model
        values, counts = np.unique(data.product, return_counts=True)
        best = int(values[np.argmax(counts)])
        if counts.max() * 2 <= len(data.product) or best not in _BY_BYTE:
            shown = ", ".join(f"0x{value:02x}" for value in values[:8].tolist())
            raise FileFormatError(
                f"{path}: the last byte of the packets ({shown}) does not tell the model of the lidar; pass model=, "
                f"one of {', '.join(MODELS)}. Those of an HDL-64E need calibration= too"
            )
        return _BY_BYTE[best]

    def _payloads(self, file: Any, offsets: list[int]) -> list[bytes]:
        import numpy as np

        from robodf.io.pcap.opening import packets_at

        offset = np.array(offsets, np.int64)
        size, link = np.full(len(offset), SIZE), np.zeros(len(offset), np.int64)
        return [
            part.buffer[at : at + SIZE]
            for part in packets_at(file, offset, size, link, _AT_ONCE, _GAP)
            for at in part.at.tolist()
        ]

    # -- points -----------------------------------------------------------------------------------------------

    @property
    def _cut(self) -> int | None:
        return None if self.cut_angle is None else round(self.cut_angle * 100) % _TURN

    def _cloud(self, path: str, packets: list[tuple[int, bytes]], model: str) -> pl.Series:
        import velodyne_decoder as vd

        options: dict[str, Any] = {"min_range": self.min_range, "max_range": self.max_range}
        if self.calibration is not None:
            options["calibration"] = calibration(self.calibration)
        config = vd.Config(model=getattr(vd.Model, model), timestamp_first_packet=True, **options)
        vector = vd.PacketVector(
            [vd.VelodynePacket(ns // 1_000_000_000 + ns % 1_000_000_000 / 1e9, data) for ns, data in packets]
        )
        try:
            _, points = vd.ScanDecoder(config).decode(vector, True)
        except RuntimeError as error:
            raise FileFormatError(f"{path}: velodyne-decoder: {error}") from error
        frame = pl.DataFrame({name: points[name].copy() for name in _POINT}, schema=_POINT)
        return frame.to_struct("cloud").implode()


def _data(some: Packets, at: np.ndarray, payload: np.ndarray, first: int) -> _Data:
    import numpy as np

    raw = np.frombuffer(some.buffer, np.uint8)
    blocks = payload[:, None] + np.arange(BLOCKS) * 100

    def number(where: np.ndarray) -> np.ndarray:
        return raw[where].astype(np.int64) | raw[where + 1].astype(np.int64) << 8

    azimuths = number(blocks + 2)
    return _Data(
        at + first,
        some.base + payload,
        some.times[at],
        azimuths[:, -1] if len(at) else np.zeros(0, np.int64),
        raw[payload + SIZE - 1].astype(np.int64),
        number(blocks),
        azimuths.max(axis=1, initial=0),
    )


def _scans(azimuths: list[int], times: list[int], cut: int | None) -> list[int]:
    """The number of the scan of each packet.

    As velodyne-decoder cuts them: after the packet by which a turn is full, seen from the packet that ended the scan
    before (or from `cut`), or before one that comes 0.3 s after the first.
    """
    scans: list[int] = []
    scan = covered = 0
    start, begin, before = cut, None, None
    for azimuth, time in zip(azimuths, times):
        if begin is not None and time - begin > _LONGEST:
            scan, covered, begin = scan + 1, 0, None
            start = before if cut is None else cut
        if begin is None:
            begin = time
        if start is None:
            start = azimuth
        scans.append(scan)
        now = (azimuth - start) % _TURN
        if covered > _TURN // 2 and covered > now:
            scan, covered, begin = scan + 1, 0, None
            start = azimuth if cut is None else cut
        else:
            covered = now
        before = azimuth
    return scans


def calibration(name: str) -> Any:
    """Of a YAML file, or one that velodyne-decoder brings, such as "HDL-64E_S3-VeloView"."""
    import velodyne_decoder as vd

    if os.path.isfile(name):
        try:
            return vd.Calibration.read(name)
        except RuntimeError as error:
            raise OptionError(f"read_velodyne: calibration={name!r}: {error}") from error
    folder = os.path.join(os.path.dirname(vd.__file__), "calibrations")
    known = sorted(file.removesuffix(".yml") for file in os.listdir(folder) if file.endswith(".yml"))
    if name not in known:
        raise OptionError(f"read_velodyne: calibration={name!r} is neither a file nor one of {', '.join(known)}")
    return vd.get_bundled_calibration(f"{name}.yml")
