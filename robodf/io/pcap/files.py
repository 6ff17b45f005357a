"""Captures as one row a packet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from robodf.io.files import is_remote
from robodf.io.indexed_files import IndexedFiles
from robodf.io.pcap.layers import COLUMNS

if TYPE_CHECKING:
    import numpy as np

_CHEAP = 256 << 20  # bytes of files whose packets are counted while a query is planned
_AT_ONCE = 16 << 20  # bytes of packets in a frame
_GAP = 64 << 10  # bytes between packets that are read rather than sought over

_PACKET = {
    "packet": pl.UInt32(),
    "time": pl.Datetime("ns"),
    "length": pl.UInt32(),
    "captured": pl.UInt32(),
    "link_type": pl.UInt16(),
}


@dataclass(frozen=True)
class PcapFiles(IndexedFiles):
    """Packets in the order of the files; the index has where the bytes of each lie besides."""

    @property
    def name(self) -> str:
        return "pcap"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        return {"path": pl.String(), **_PACKET, **COLUMNS, "payload": pl.Binary(), "data": pl.Binary()}

    @property
    def heavy(self) -> frozenset[str]:
        return frozenset(["payload", "data"])

    @property
    def index_is_cheap(self) -> bool:
        return sum(size for size, _ in self.state) <= _CHEAP and not any(map(is_remote, self.paths))

    def index(self, path: str, columns: tuple[str, ...]) -> pl.DataFrame:
        from robodf.io.pcap.capture import NO_TIME, Damage, packets
        from robodf.io.pcap.layers import layers
        from robodf.io.pcap.opening import open_capture

        looks_inside = not COLUMNS.keys().isdisjoint(columns)
        parts: list[pl.DataFrame] = []
        with open_capture(path, dict(self.storage)) as file:
            try:
                for found in packets(file):
                    part = pl.DataFrame(
                        {
                            "time": pl.Series(found.times).replace(NO_TIME, None).cast(pl.Datetime("ns")),
                            "length": found.length,
                            "captured": found.captured,
                            "link_type": found.links,
                            "_offset": found.base + found.at,
                        }
                    ).cast({"length": pl.UInt32, "captured": pl.UInt32, "link_type": pl.UInt16, "_offset": pl.UInt64})
                    parts.append(part.hstack(layers(found).table) if looks_inside else part)
            except Damage as error:
                if self.on_error == "raise":
                    raise
                self.log.add(path, str(error))
        more = COLUMNS if looks_inside else {}
        types = {name: dtype for name, dtype in _PACKET.items() if name != "packet"}
        rows = pl.concat(parts) if parts else pl.DataFrame(schema={**types, "_offset": pl.UInt64(), **more})
        return rows.with_columns(pl.int_range(pl.len(), dtype=pl.UInt32).alias("packet"))

    def read_rows(self, path: str, rows: np.ndarray, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        from robodf.io.pcap.layers import layers
        from robodf.io.pcap.opening import open_capture, packets_at

        where = self.index_of(path, ())[rows]
        offset, captured, link = (where.get_column(c).to_numpy() for c in ("_offset", "captured", "link_type"))
        with open_capture(path, dict(self.storage)) as file:
            for found in packets_at(file, offset, captured, link, _AT_ONCE, _GAP):
                made = {}
                if "data" in columns:
                    made["data"] = _slices(found.buffer, found.at, found.captured)
                if "payload" in columns:
                    inside = layers(found)
                    made["payload"] = _slices(found.buffer, inside.payload, inside.size)
                yield pl.DataFrame({name: made[name] for name in columns})


def _slices(buffer: bytes, at: np.ndarray, size: np.ndarray) -> pl.Series:
    """The bytes at each place, null where it is negative."""
    pairs = zip(at.tolist(), size.tolist())
    return pl.Series([buffer[a : a + n] if a >= 0 else None for a, n in pairs], dtype=pl.Binary)
