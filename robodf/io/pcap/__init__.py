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
    others they are null. A datagram in several fragments has no payload. `payload` and `data` are read for the rows
    that a query keeps. A capture that is cut off or damaged is an error; with `on_error="skip"` or "collect" the
    packets before that place are read.

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


def read_velodyne(
    paths: Paths,
    model: str | None = None,
    *,
    calibration: str | None = None,
    min_range: float = 0.1,
    max_range: float = 200.0,
    cut_angle: float | None = None,
    port: int | None = None,
    on_error: str = "raise",
    storage_options: dict | None = None,
) -> PipelineDataFrame:
    """A lazy frame of captures of Velodyne lidars, one row a scan (a turn of the sensor), decoded by velodyne-decoder.

    path, scan (its number in the file), time and end_time (when its first and last packet were captured, as
    Datetime("ns"), UTC), packets (how many), model, src and dst_port (of the sensor: several in one file have scans of
    their own), and cloud: List(Struct) of x, y, z (meters), intensity, time (seconds since the first packet of the
    scan), column, ring and return_type (1 strongest, 2 last, 3 both). The packets of a file are looked at for their
    azimuths; only the packets of the scans that a query keeps are decoded.

    `model` is found by the last byte of the packets, but for HDL64E_S1, HDL64E_S2, HDL64E_S3, VLP32A and VLP32B, which
    have none of their own: say it. Calibrations come with the decoder; the HDL-64E needs `calibration`, a YAML file or
    the name of a bundled one. Points nearer than `min_range` or farther than `max_range` meters are left out. Scans
    begin where the one before ended, or at `cut_angle` degrees. `port` takes the packets to one UDP port. Packets of
    other sizes, such as the position packets to port 8308, are left out; a data packet that is damaged is an error, or
    left out with `on_error="skip"` or "collect".

    >>> import robodf as rd
    >>> rd.read_velodyne("drive/*.pcap").filter(rd.col("scan") % 10 == 0)  # doctest: +SKIP
    """
    import math

    from robodf.errors import OptionError, hint
    from robodf.io.files import list_files
    from robodf.io.pcap import velodyne
    from robodf.io.read import from_source

    if model is not None and model not in velodyne.MODELS:
        raise OptionError(
            f"read_velodyne: model={model!r}{hint(model, velodyne.MODELS)} Models: {', '.join(velodyne.MODELS)}"
        )
    numbers = {"min_range": min_range, "max_range": max_range, "cut_angle": 0.0 if cut_angle is None else cut_angle}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
            raise OptionError(f"read_velodyne: {name} is a number from 0 on, not {value!r}")
    try:
        import velodyne_decoder  # noqa: F401
    except ImportError as error:
        raise ImportError("read_velodyne needs velodyne-decoder: pip install 'robodf[clouds]'") from error
    if calibration is not None:
        velodyne.calibration(calibration)
    elif model is not None and model.startswith("HDL64E"):
        raise OptionError(f"read_velodyne: model={model!r} needs calibration=, such as 'HDL-64E_S3-VeloView'")
    source = velodyne.VelodyneFiles.of(
        list_files(paths, EXTENSIONS, storage_options),
        storage_options,
        on_error,
        model=model,
        calibration=calibration,
        min_range=float(min_range),
        max_range=float(max_range),
        cut_angle=None if cut_angle is None else float(cut_angle),
        port=port,
    )
    return from_source(source)


EXTENSIONS = (".pcap", ".pcapng", ".cap")
"""What is looked for in a folder."""

_MAGIC = (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x0a\x0d\x0d\x0a")


def sniff(head: bytes, size: int) -> bool:
    """Whether a file that begins so is a capture."""
    return head.startswith(_MAGIC)
