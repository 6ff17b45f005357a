"""The layers of packets: who sent them to whom, by which protocol, and where the payload of a UDP datagram lies.

Ethernet with VLAN tags, Linux cooked captures and bare IP; IPv4 and IPv6; UDP and TCP. Packets are looked at together,
as arrays, and no byte beyond what was captured of a packet counts.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

import numpy as np
import polars as pl

from robodf.io.pcap.capture import Packets

_ETHERNET, _RAW, _COOKED, _COOKED_2, _LOOPBACK = 1, (12, 14, 101, 228, 229), 113, 276, (0, 108)
_TAGS = (0x8100, 0x88A8, 0x9100)
_IPV4, _IPV6 = 0x0800, 0x86DD
_TCP, _UDP, _FRAGMENT = 6, 17, 44
_NAMES = {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 47: "gre", 50: "esp", 51: "ah", 58: "icmpv6", 89: "ospf",
          132: "sctp"}  # fmt: skip
_EXTENSIONS = (0, 43, 60)  # of IPv6: hop by hop, routing, destination options

COLUMNS = {
    "src": pl.String(), "dst": pl.String(), "src_port": pl.UInt16(), "dst_port": pl.UInt16(), "protocol": pl.String(),
}  # fmt: skip


@dataclass(frozen=True)
class Layers:
    """What was found, an array for all packets each; `payload` is where it begins in the buffer, -1 where there is
    none: what is no UDP, a fragment, or a datagram of which not all was captured."""

    table: pl.DataFrame
    payload: np.ndarray
    size: np.ndarray


class _View:
    """Big-endian numbers at positions of a buffer; 0 where the packet has ended before."""

    def __init__(self, found: Packets):
        # Some bytes more, so that what lies beyond the last packet can be asked for.
        self.bytes = np.concatenate([np.frombuffer(found.buffer, np.uint8), np.zeros(64, np.uint8)])
        self.end = found.at + found.captured

    def number(self, at: np.ndarray, size: int) -> np.ndarray:
        inside = at + size <= self.end
        safe = np.where(inside, at, 0)
        value = np.zeros(len(at), np.int64)
        for k in range(size):
            value = value << 8 | self.bytes[safe + k]
        return np.where(inside, value, 0)

    def has(self, at: np.ndarray, size: int) -> np.ndarray:
        return at + size <= self.end


def layers(found: Packets) -> Layers:
    """Of each packet."""
    view = _View(found)
    ip, ethertype = _link(view, found)
    version = view.number(ip, 1) >> 4
    four = (ethertype == _IPV4) & (version == 4) & view.has(ip, 20)
    six = (ethertype == _IPV6) & (version == 6) & view.has(ip, 40)
    words = (view.number(ip, 1) & 0xF) * 4
    four &= words >= 20
    protocol = np.where(four, view.number(ip + 9, 1), -1)
    transport = ip + words
    total = view.number(ip + 2, 2)
    ending = np.where(total > 0, ip + total, view.end)  # where the network card was to fill it in, it is 0
    parts = view.number(ip + 6, 2)
    whole = four & (parts & 0x3FFF == 0)
    first = four & (parts & 0x1FFF == 0)
    if six.any():
        kind, at, is_whole, is_first = _six(view, ip)
        protocol, transport = np.where(six, kind, protocol), np.where(six, at, transport)
        ending = np.where(six, ip + 40 + view.number(ip + 4, 2), ending)
        whole, first = np.where(six, is_whole, whole), np.where(six, is_first, first)
    ports = first & np.isin(protocol, (_TCP, _UDP)) & view.has(transport, 4)
    length = view.number(transport + 4, 2)
    udp = (protocol == _UDP) & whole & view.has(transport, 8) & (length >= 8)
    udp &= (transport + length <= ending) & (transport + length <= view.end)
    table = pl.DataFrame(
        {
            "src": _addresses(view, ip, four, six, 12, 8),
            "dst": _addresses(view, ip, four, six, 16, 24),
            "src_port": _nullable(view.number(transport, 2), ports),
            "dst_port": _nullable(view.number(transport + 2, 2), ports),
            "protocol": _names(protocol),
        },
        schema=COLUMNS,
    )
    return Layers(table, np.where(udp, transport + 8, -1), np.where(udp, length - 8, 0))


def _link(view: _View, found: Packets) -> tuple[np.ndarray, np.ndarray]:
    """Where the IP header begins, and the ethertype."""
    at, links = found.at, found.links
    ip, ethertype = at.copy(), np.zeros(len(at), np.int64)
    ethernet = links == _ETHERNET
    tag = at + 12
    kind = view.number(tag, 2)
    for _ in range(3):
        tagged = np.isin(kind, _TAGS)
        if not tagged.any():
            break
        tag = np.where(tagged, tag + 4, tag)
        kind = view.number(tag, 2)
    ip, ethertype = np.where(ethernet, tag + 2, ip), np.where(ethernet, kind, ethertype)
    for link, where, begin in ((_COOKED, 14, 16), (_COOKED_2, 0, 20)):
        cooked = links == link
        if cooked.any():
            ip, ethertype = np.where(cooked, at + begin, ip), np.where(cooked, view.number(at + where, 2), ethertype)
    bare = np.isin(links, (*_RAW, *_LOOPBACK))
    if bare.any():
        ip = np.where(bare, at + np.where(np.isin(links, _LOOPBACK), 4, 0), ip)
        ethertype = np.where(bare, np.where(view.number(ip, 1) >> 4 == 6, _IPV6, _IPV4), ethertype)
    return ip, ethertype


def _six(view: _View, ip: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of IPv6: the protocol behind the extension headers, where it begins, whether it is whole, or the first part."""
    kind, at = view.number(ip + 6, 1), ip + 40
    whole, first = np.ones(len(ip), bool), np.ones(len(ip), bool)
    for _ in range(6):
        extension, fragment = np.isin(kind, _EXTENSIONS), kind == _FRAGMENT
        if not (extension | fragment).any():
            break
        parts = view.number(at + 2, 2)
        whole &= ~fragment | (parts & 0xFFF9 == 0)
        first &= ~fragment | (parts & 0xFFF8 == 0)
        size = np.where(extension, (view.number(at + 1, 1) + 1) * 8, np.where(fragment, 8, 0))
        kind, at = np.where(extension | fragment, view.number(at, 1), kind), at + size
    return kind, at, whole, first


def _addresses(view: _View, ip: np.ndarray, four: np.ndarray, six: np.ndarray, at_4: int, at_6: int) -> pl.Series:
    """As text. A capture has few of them, so each is written once."""
    texts: list[str] = []
    which = np.full(len(ip), -1)
    if four.any():
        values, where = np.unique(view.number(ip + at_4, 4)[four], return_inverse=True)
        which[four] = where
        texts += [str(ipaddress.IPv4Address(value)) for value in values.tolist()]
    if six.any():
        rows = view.bytes[(ip[six] + at_6)[:, None] + np.arange(16)]
        values, where = np.unique(np.ascontiguousarray(rows).view("V16").ravel(), return_inverse=True)
        which[six] = where + len(texts)
        texts += [str(ipaddress.IPv6Address(value.tobytes())) for value in values]
    return pl.Series([*texts, None], dtype=pl.String).gather(np.where(which < 0, len(texts), which))


def _names(protocol: np.ndarray) -> pl.Series:
    values, where = np.unique(protocol, return_inverse=True)
    names = [None if value < 0 else _NAMES.get(value, str(value)) for value in values.tolist()]
    return pl.Series(names, dtype=pl.String).gather(where)


def _nullable(values: np.ndarray, known: np.ndarray) -> pl.Series:
    made = pl.Series(np.where(known, values, 0)).cast(pl.UInt16)
    return made if known.all() else made.set(pl.Series(~known), None)
