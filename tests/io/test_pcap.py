"""Captures of packets: what is listed, what is read, and what is told of damage."""

from __future__ import annotations

import random
import struct
from datetime import datetime
from pathlib import Path

import dpkt
import polars as pl
import pytest
import samples_pcap as samples
from samples_clouds import mutated

import robodf as rd
from robodf.errors import FileFormatError, RobodfError
from robodf.io.counting import read as counter


def put(folder: Path, name: str, data: bytes) -> str:
    path = folder / name
    path.write_bytes(data)
    return str(path)


PACKETS = [(1_600_000_000_123_456_789 + k, samples.udp(bytes([k]) * k)) for k in range(5)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["us", "ns", "ng"])
def test_packets_of_each_format(tmp_path: Path, kind: str, order: str) -> None:
    data = samples.pcapng(PACKETS, order) if kind == "ng" else samples.pcap(PACKETS, order, kind)
    found = rd.read_pcap(put(tmp_path, "a.pcap", data)).collect()
    exact = 1000 if kind == "us" else 1
    assert found["time"].to_physical().to_list() == [ns // exact * exact for ns, _ in PACKETS]
    assert found["packet"].to_list() == [0, 1, 2, 3, 4]
    assert found["data"].to_list() == [frame for _, frame in PACKETS]
    assert found["payload"].to_list() == [bytes([k]) * k for k in range(5)]
    assert found["length"].to_list() == found["captured"].to_list() == [len(frame) for _, frame in PACKETS]
    assert found.select("src", "dst", "src_port", "dst_port", "protocol", "link_type").unique().rows() == [
        ("192.168.1.201", "255.255.255.255", 2368, 2368, "udp", 1)
    ]


def test_runs_of_one_size_and_others_between(tmp_path: Path) -> None:
    rng = random.Random(1)
    sizes = [rng.choice((0, 7, 300)) for _ in range(3000)] + [100] * 500 + [rng.randrange(2000) for _ in range(3000)]
    packets = [(k * 1_000_000, bytes([k % 256]) * size) for k, size in enumerate(sizes + [100] * 5)]
    path = put(tmp_path, "a.pcap", samples.pcap(packets))
    found = rd.read_pcap(path).select("time", "data", "captured").collect()
    with open(path, "rb") as file:
        expected = list(dpkt.pcap.Reader(file))
    assert found["data"].to_list() == [data for _, data in expected] == [data for _, data in packets]
    assert found["time"].to_physical().to_list() == [ns for ns, _ in packets]
    some = rd.read_pcap(path).filter(rd.col("packet") % 97 == 3).select("data").collect()
    assert some["data"].to_list() == [data for _, data in packets][3::97]


def test_layers(tmp_path: Path) -> None:
    part = samples.udp(b"abcdef", fragment=0x2000)
    later = samples.udp(b"abcdef", fragment=0x0001)
    short = samples.udp(b"abcdef")[:-2]
    arp = b"\0" * 12 + b"\x08\x06" + bytes(28)
    frames = [samples.udp(b"v", vlan=2), samples.tcp(), samples.udp6(b"six"), samples.udp6(b"ext", True)]
    frames += [part, later, short, arp, b"", samples.udp(b"")]
    found = rd.read_pcap(put(tmp_path, "a.pcap", samples.pcap([(k, f) for k, f in enumerate(frames)]))).collect()
    assert found["protocol"].to_list() == ["udp", "tcp", "udp", "udp", "udp", "udp", "udp", None, None, "udp"]
    assert found["payload"].to_list() == [b"v", None, b"six", b"ext", None, None, None, None, None, b""]
    assert found["dst_port"].to_list() == [2368, 5000, 10, 10, 2368, None, 2368, None, None, 2368]
    assert found["src"].to_list()[1:4] == ["10.0.0.1", "fe80::a", "fe80::a"]
    assert found["dst"].to_list()[2] == "fe80::b"
    assert found["data"].to_list() == frames


@pytest.mark.parametrize(("link", "head"), [(101, b""), (113, bytes(14) + b"\x08\x00"), (276, b"\x08\x00" + bytes(18)),
                                            (0, b"\2\0\0\0")])  # fmt: skip
def test_other_links(tmp_path: Path, link: int, head: bytes) -> None:
    frame = head + samples.udp(b"inside")[14:]
    found = rd.read_pcap(put(tmp_path, "a.pcap", samples.pcap([(0, frame)], link=link))).collect()
    assert found.select("link_type", "src", "payload").rows() == [(link, "192.168.1.201", b"inside")]


def test_packets_cut_by_the_capture_have_no_payload(tmp_path: Path) -> None:
    path = put(tmp_path, "a.pcap", samples.pcap([(0, samples.udp(bytes(500)))], snap=96))
    found = rd.read_pcap(path).collect()
    assert found.select("length", "captured", "payload", "dst_port").rows() == [(542, 96, None, 2368)]


def test_pcapng_interfaces_sections_and_packets_without_time(tmp_path: Path) -> None:
    two = samples.pcapng(PACKETS[:2], "<", 6) + samples.pcapng(PACKETS[2:], ">", 9)
    found = rd.read_pcap(put(tmp_path, "a.pcapng", two)).collect()
    assert found["time"].to_physical().to_list() == [1_600_000_000_123_456_000] * 2 + [ns for ns, _ in PACKETS[2:]]
    simple = rd.read_pcap(put(tmp_path, "b.pcapng", samples.pcapng(PACKETS, simple=True))).collect()
    assert simple["time"].null_count() == 5
    assert simple["data"].to_list() == [frame for _, frame in PACKETS]


def test_a_time_filter_reads_the_payloads_of_its_packets(tmp_path: Path) -> None:
    path = put(tmp_path, "a.pcap", samples.pcap([(k * 1_000_000_000, bytes([k]) * 60_000) for k in range(60)]))
    df = rd.read_pcap(path).filter(rd.col("time") >= datetime(1970, 1, 1, 0, 0, 57))
    assert df.count_rows() == 3
    before = counter.bytes
    assert df.select("data").collect()["data"].bin.size().to_list() == [60_000] * 3
    assert counter.bytes - before < 4 * 60_100
    assert "3 of 60 rows, data of these rows only" in str(df.select("data").explain("physical"))


def test_times_that_jump_stay_in_the_order_of_the_file(tmp_path: Path) -> None:
    times = [5, 3, 9, 1]
    path = put(tmp_path, "a.pcap", samples.pcap([(t * 10**9, b"") for t in times]))
    df = rd.read_pcap(path)
    assert (df.collect()["time"].to_physical() // 10**9).to_list() == times
    kept = df.filter(rd.col("time") < datetime(1970, 1, 1, 0, 0, 4)).collect()
    assert kept["packet"].to_list() == [1, 3]


@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
def test_a_capture_that_is_cut_off(tmp_path: Path, kind: str) -> None:
    whole = getattr(samples, kind)(PACKETS)
    path = put(tmp_path, "a.pcap", whole[:-20])
    with pytest.raises(FileFormatError, match="a.pcap.*offset.*cut off"):
        rd.read_pcap(path).collect()
    for _ in range(2):  # what an index left out is told to each frame
        df = rd.read_pcap(path, on_error="collect")
        assert df.collect()["data"].to_list() == [frame for _, frame in PACKETS[:4]]
        assert "cut off" in df.errors["error"][0]
    with pytest.raises(FileFormatError, match="cut off"):
        rd.read_pcap(path).collect()


def test_what_is_no_capture(tmp_path: Path) -> None:
    old = struct.pack("<I", 0xA1B2CD34) + bytes(40)
    for data, message in (
        (b"", "neither a pcap"),
        (b"hello world", "neither a pcap"),
        (old, "editcap"),
        (b"\xd4\xc3\xb2\xa1", "24 bytes"),
    ):
        with pytest.raises(FileFormatError, match=message):
            rd.read_pcap(put(tmp_path, "a.pcap", data)).collect()
    header = samples.pcap([])
    assert (
        rd.read_pcap(put(tmp_path, "b.pcap", header)).collect().schema
        == rd.read_pcap(put(tmp_path, "c.pcap", samples.pcap(PACKETS))).schema
    )
    huge = header + struct.pack("<4I", 0, 0, 0xFFFFFFF0, 0xFFFFFFF0) + bytes(100)
    with pytest.raises(FileFormatError, match="4294967280 bytes"):
        rd.read_pcap(put(tmp_path, "a.pcap", huge)).collect()


def test_read_and_sql_find_captures(tmp_path: Path) -> None:
    for name, data in samples.samples().items():
        path = put(tmp_path, name, data)
        assert rd.read(put(tmp_path, "renamed", data)).columns[:3] == ["path", "packet", "time"]
    assert rd.sql(f"SELECT max(length) AS n FROM read_pcap('{path}')").collect().item() == 1248


def test_the_same_packets_as_dpkt_in_a_real_capture(real_data: Path) -> None:
    path = real_data / "pcap" / "velodyne_hdl32.pcap"
    found = rd.read_pcap(path).collect()
    with path.open("rb") as file:
        expected = list(dpkt.pcap.Reader(file))
    assert found.height == 500
    assert found["data"].to_list() == [data for _, data in expected]
    assert found["payload"].to_list() == [dpkt.ethernet.Ethernet(data).data.data.data for _, data in expected]
    assert found["time"].dt.epoch("us").to_list() == [round(stamp * 1_000_000) for stamp, _ in expected]
    assert found.schema["time"] == pl.Datetime("ns")


@pytest.mark.parametrize("name", list(samples.samples()))
def test_mutated_captures_are_read_or_told(tmp_path: Path, name: str) -> None:
    rng = random.Random(name)
    data = samples.samples()[name]
    told = []
    for _ in range(40):
        path = put(tmp_path, name, mutated(data, rng))
        try:
            rd.read_pcap(path).collect()
        except RobodfError as error:
            told.append(path in str(error))
        rd.read_pcap(path, on_error="skip").select("src", "payload").collect()
    assert told
    assert all(told)
