"""Captured network packets, and the scans of Velodyne lidars in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from robodf.frame.frame import PipelineDataFrame

    Paths = str | os.PathLike | Iterable[str | os.PathLike]


def read_pcap(paths: Paths, *, on_error: str = "raise", storage_options: dict | None = None) -> PipelineDataFrame:
    """A lazy frame of network captures, pcap or pcapng, one row a packet, in the order of the file.

    path, packet (its number in the file), time (Datetime("ns"), UTC; null in simple packet blocks of pcapng), length
    (bytes on the wire) and captured (bytes in the file), link_type (1 is Ethernet), src, dst, src_port, dst_port,
    protocol ("udp", "tcp", ...), payload (of a UDP datagram that was captured whole) and data (all captured bytes).

    Addresses and ports are found in Ethernet (with VLAN tags), Linux cooked and bare IP packets, of IPv4 and IPv6; in
    others they are null. A datagram in several fragments has no payload. `payload` and `data` are read for the rows that
    a query keeps. A capture that is cut off or damaged is an error; with `on_error="skip"` or "collect" the packets
    before that place are read.

    >>> import robodf as rd, struct, tempfile, pathlib
    >>> name = pathlib.Path(tempfile.mkdtemp(), "a.pcap")
    >>> head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 147)
    >>> _ = name.write_bytes(head + struct.pack("<4I", 1, 500_000, 3, 3) + b"abc")
    >>> rd.read_pcap(name).select(rd.col("time").dt.epoch("ms"), "length", "data").collect().rows()
    [(1500, 3, b'abc')]
    """
    from robodf.io.files import list_files
    from robodf.io.pcap.files import PcapFiles
    from robodf.io.read import from_source

    return from_source(PcapFiles.of(list_files(paths, EXTENSIONS, storage_options), storage_options, on_error))


EXTENSIONS = (".pcap", ".pcapng", ".cap")
"""What is looked for in a folder."""


def read_velodyne(): ...
