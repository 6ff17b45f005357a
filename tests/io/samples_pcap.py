"""Small captures, pcap and pcapng, and packets of a made-up Velodyne lidar."""

from __future__ import annotations

import struct

MAGIC = {"us": 0xA1B2C3D4, "ns": 0xA1B23C4D}


def udp(payload: bytes, src: str = "192.168.1.201", dst: str = "255.255.255.255", ports: tuple[int, int] = (2368, 2368),
        vlan: int = 0, fragment: int = 0) -> bytes:  # fmt: skip
    """An Ethernet frame."""
    inner = struct.pack(">4H", *ports, len(payload) + 8, 0) + payload
    addresses = b"".join(bytes(map(int, a.split("."))) for a in (src, dst))
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(inner), 0, fragment, 64, 17, 0) + addresses
    return b"\xff" * 6 + b"\x60" * 6 + b"\x81\x00\x00\x05" * vlan + b"\x08\x00" + ip + inner


def udp6(payload: bytes, extension: bool = False) -> bytes:
    """The same of IPv6, with a hop-by-hop header if so asked."""
    inner = struct.pack(">4H", 9, 10, len(payload) + 8, 0) + payload
    if extension:
        inner = bytes([17, 0, 1, 4, 0, 0, 0, 0]) + inner
    source = bytes.fromhex("fe80000000000000000000000000000a")
    ip = struct.pack(">IHBB", 6 << 28, len(inner), 0 if extension else 17, 64) + source + source[:-1] + b"\x0b"
    return b"\x33" * 12 + b"\x86\xdd" + ip + inner


def tcp() -> bytes:
    """A frame of TCP."""
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 60, 0, 0, 64, 6, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
    return b"\1" * 12 + b"\x08\x00" + ip + struct.pack(">2H", 80, 5000) + bytes(36)


def pcap(
    packets: list[tuple[int, bytes]], order: str = "<", unit: str = "us", link: int = 1, snap: int = 65535
) -> bytes:
    """A capture of packets with their times in ns."""
    parts = [struct.pack(f"{order}IHHiIII", MAGIC[unit], 2, 4, 0, 0, snap, link)]
    for ns, data in packets:
        rest = ns % 1_000_000_000 // (1000 if unit == "us" else 1)
        parts.append(
            struct.pack(f"{order}4I", ns // 1_000_000_000, rest, min(len(data), snap), len(data)) + data[:snap]
        )
    return b"".join(parts)


def _block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + size + body + size


def pcapng(packets: list[tuple[int, bytes]], order: str = "<", resolution: int = 9, simple: bool = False) -> bytes:
    """A capture of one section with one interface; times are kept in parts of 10 ** -resolution s."""
    section = struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1)
    option = struct.pack(f"{order}HHBxxxHH", 9, 1, resolution, 0, 0)
    parts = [_block(order, 0x0A0D0D0A, section)]
    parts.append(_block(order, 1, struct.pack(f"{order}HHI", 1, 0, 262_144) + option))
    parts.append(_block(order, 5, bytes(12)))  # statistics: no packet
    for ns, data in packets:
        at = ns // 10 ** (9 - resolution)
        head = struct.pack(f"{order}5I", 0, at >> 32, at & 0xFFFFFFFF, len(data), len(data))
        body = struct.pack(f"{order}I", len(data)) + data if simple else head + data
        parts.append(_block(order, 3 if simple else 6, body))
    return b"".join(parts)


def firing(azimuth: int, product: int = 0x22, distance: int = 5000, flag: int = 0xEEFF) -> bytes:
    """A data packet, whose blocks begin at an azimuth and are 0.4 degrees apart."""
    blocks = b"".join(
        struct.pack("<HH", flag, (azimuth + 40 * k) % 36_000) + struct.pack("<HB", distance + k, 100) * 32
        for k in range(12)
    )
    return blocks + struct.pack("<IBB", azimuth, 0x37, product)


def turns(count: int, product: int = 0x22, start: int = 1_700_000_000_000_000_000, src: str = "192.168.1.201",
          every: int = 1_326_667, first: int = 0) -> list[tuple[int, bytes]]:  # fmt: skip
    """The packets of a sensor that turns ten times a second, 75 packets each."""
    return [(start + every * k, udp(firing((first + 480 * k) % 36_000, product), src)) for k in range(75 * count)]


def samples() -> dict[str, bytes]:
    """By a name with the extension of the format."""
    packets = [(1_600_000_000_123_456_789 + 10_000_000 * k, udp(bytes([k]) * (k + 1))) for k in range(12)]
    packets += [
        (1_600_000_001_000_000_000, data) for data in (tcp(), udp6(b"abc"), udp6(b"de", True), udp(b"v", vlan=2))
    ]
    return {
        "us.pcap": pcap(packets),
        "ns_big.pcap": pcap(packets, ">", "ns"),
        "raw.pcap": pcap([(5, udp(b"x")[14:])], link=101),
        "little.pcapng": pcapng(packets),
        "big.pcapng": pcapng(packets, ">", 6),
        "simple.pcapng": pcapng(packets, simple=True),
        "velodyne.pcap": pcap(turns(1)),
    }
