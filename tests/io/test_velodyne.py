"""Scans of Velodyne lidars: where they begin, which packets are decoded, and what is told of others."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import samples_pcap as samples
import velodyne_decoder as vd
from samples_clouds import mutated

import robodf as rd
from robodf.errors import FileFormatError, OptionError, RobodfError
from robodf.io.counting import read as counter


def put(folder: Path, name: str, data: bytes) -> str:
    path = folder / name
    path.write_bytes(data)
    return str(path)


def same_as_the_decoder(path: str, found: pl.DataFrame, **options: object) -> None:
    expected = list(vd.read_pcap(path, vd.Config(timestamp_first_packet=True, **options), as_pcl_structs=True))
    assert found.height == len(expected)
    for row, scan in zip(found.iter_rows(named=True), expected):
        assert abs(row["time"].timestamp() - scan.stamp.host) < 2e-6
        assert len(row["cloud"]) == len(scan.points)
    for cloud, scan in zip(found["cloud"], expected):
        for name in scan.points.dtype.names:
            assert np.array_equal(cloud.struct.field(name).to_numpy(), scan.points[name], equal_nan=True), name


def test_a_real_capture_is_as_the_decoder_reads_it(real_data: Path) -> None:
    path = str(real_data / "pcap" / "velodyne_hdl32.pcap")
    df = rd.read_velodyne(path)
    found = df.collect()
    assert found["cloud"].list.len().to_list() == [58169, 58078, 30458]  # 146,705 in all
    same_as_the_decoder(path, found)
    assert found["packets"].to_list() == [202, 201, 97]
    assert found.select("model", "src", "dst_port").unique().rows() == [("HDL32E", "192.168.17.162", 2368)]
    before = counter.bytes
    (cloud,) = df.filter(rd.col("scan") == 1).select("cloud").collect()["cloud"]
    assert counter.bytes - before < 201 * 1264  # its packets, and no others
    assert cloud.equals(found["cloud"][1])
    same_as_the_decoder(path, rd.read_velodyne(path, cut_angle=90, min_range=5).collect(), cut_angle=90, min_range=5)


@pytest.mark.parametrize(
    ("product", "model"), [(0x22, "VLP16"), (0x24, "PuckHiRes"), (0x28, "VLP32C"), (0x21, "HDL32E")]
)
def test_made_turns_of_each_model(tmp_path: Path, product: int, model: str) -> None:
    path = put(tmp_path, "a.pcap", samples.pcap(samples.turns(3, product)))
    found = rd.read_velodyne(path).collect()
    assert found["model"].unique().to_list() == [model]
    same_as_the_decoder(path, found)


def test_a_pause_ends_a_scan_and_reverse_turns_do_not(tmp_path: Path) -> None:
    start = 1_700_000_000_000_000_000
    packets = samples.turns(1)[:30] + samples.turns(2, start=start + 10**9)
    packets += samples.turns(1, start=start + 5 * 10**9)[::-1]
    packets = [(start + 1_326_667 * k + (10**9 if k >= 30 else 0), data) for k, (_, data) in enumerate(packets)]
    path = put(tmp_path, "a.pcap", samples.pcap(packets))
    found = rd.read_velodyne(path).collect()
    assert found["packets"].sum() == len(packets)
    same_as_the_decoder(path, found)


def test_two_sensors_in_one_capture_are_apart(tmp_path: Path) -> None:
    one, two = samples.turns(2), samples.turns(2, 0x21, src="192.168.1.202", first=9000)
    other = [(ns, samples.udp(bytes(512), ports=(8308, 8308))) for ns, _ in one[:20]]
    noise = [(ns, samples.udp(bytes(1206), ports=(1, 1))) for ns, _ in one[:5]]
    path = put(tmp_path, "a.pcap", samples.pcap(sorted([*one, *two, *other, *noise])))
    found = rd.read_velodyne(path).collect()
    assert found.group_by("src").agg(pl.col("packets").sum(), pl.col("model").first()).sort("src").rows() == [
        ("192.168.1.201", 150, "VLP16"), ("192.168.1.202", 150, "HDL32E")]  # fmt: skip
    assert found["time"].is_sorted()
    alone = rd.read_velodyne(put(tmp_path, "b.pcap", samples.pcap(two))).collect()
    assert found.filter(pl.col("model") == "HDL32E")["cloud"].to_list() == alone["cloud"].to_list()
    assert rd.read_velodyne(path, port=2368).count_rows() == found.height
    with pytest.raises(FileFormatError, match="to port 2369"):
        rd.read_velodyne(path, port=2369).collect()


def test_models_that_the_packets_do_not_tell(tmp_path: Path) -> None:
    path = put(tmp_path, "a.pcap", samples.pcap(samples.turns(1, 0x23)))
    with pytest.raises(FileFormatError, match="0x23.*pass model=, one of HDL32E"):
        rd.read_velodyne(path).collect()
    assert rd.read_velodyne(path, "VLP32A").collect()["model"].to_list() == ["VLP32A"]
    with pytest.raises(FileFormatError, match="Expected model"):
        rd.read_velodyne(path, "VLP16").collect()
    with pytest.raises(OptionError, match="did you mean 'VLP16'"):
        rd.read_velodyne(path, "VLP61")
    with pytest.raises(OptionError, match="needs calibration="):
        rd.read_velodyne(path, "HDL64E_S3")
    with pytest.raises(OptionError, match="HDL-64E_S3-VeloView"):
        rd.read_velodyne(path, "HDL64E_S3", calibration="nothing")
    with pytest.raises(OptionError, match="min_range"):
        rd.read_velodyne(path, min_range=-1)
    status = [(ns, samples.udp(samples.firing(480 * k, k % 200))) for k, (ns, _) in enumerate(samples.turns(1)[:75])]
    hdl64 = put(tmp_path, "b.pcap", samples.pcap(status))
    with pytest.raises(FileFormatError, match="HDL-64E need calibration"):
        rd.read_velodyne(hdl64).collect()
    found = rd.read_velodyne(hdl64, "HDL64E_S3", calibration="HDL-64E_S3-VeloView").collect()
    assert found["cloud"].list.len().to_list()[0] > 0


@pytest.mark.parametrize("where", [0, 2, 3, 600, 1205])
def test_a_damaged_packet_is_told_or_left_out(tmp_path: Path, where: int) -> None:
    packets = samples.turns(1)
    broken = bytearray(packets[40][1])
    broken[42 + where] = 0xFF if where == 3 else 0x77
    if where == 2:
        broken[42 + 3] = 0xFF
    packets[40] = packets[40][0], bytes(broken)
    path = put(tmp_path, "a.pcap", samples.pcap(packets))
    with pytest.raises(FileFormatError, match="packet 40 at offset .* is no sound data packet of a VLP16"):
        rd.read_velodyne(path).collect()
    df = rd.read_velodyne(path, on_error="collect")
    assert df.collect()["packets"].sum() == 74
    assert df.errors["offset"].to_list() == [24 + 40 * (16 + 1248) + 16 + 42]


def test_what_holds_no_scans(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="no data packets of a Velodyne"):
        rd.read_velodyne(put(tmp_path, "a.pcap", samples.samples()["us.pcap"])).collect()
    simple = samples.pcapng(samples.turns(1)[:5], simple=True)
    with pytest.raises(FileFormatError, match="packets without a time"):
        rd.read_velodyne(put(tmp_path, "b.pcapng", simple)).collect()


def test_mutated_captures_are_read_or_told(tmp_path: Path) -> None:
    rng = random.Random(9)
    data = samples.samples()["velodyne.pcap"]
    told = []
    for _ in range(40):
        broken = bytearray(mutated(data, rng))
        for _ in range(rng.choice((0, 3))):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        path = put(tmp_path, "a.pcap", bytes(broken))
        for on_error in ("raise", "skip"):
            try:
                rd.read_velodyne(path, on_error=on_error).collect()
            except RobodfError as error:
                told.append(path in str(error))
    assert told
    assert all(told)
