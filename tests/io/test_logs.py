"""One reading model for MCAP, ROS 1 bags and ROS 2 databases."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import zstandard

import robodf as rd
from robodf.errors import FileFormatError, NoFilesError
from robodf.io.counting import read
from robodf.io.logs.model import Messages
from robodf.io.mcap.writer import McapWriter

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
EXPECTED = json.loads((DATA / "EXPECTED_messages.json").read_text()) if DATA.is_dir() else {}
TEXT = b"string data\n"


def _text(k: int) -> bytes:
    return b"\0\1\0\0" + (5).to_bytes(4, "little") + f"{k % 10_000:04}".encode() + b"\0"


def _mcap(path: Path, count: int = 100) -> Path:
    with McapWriter(path, chunk_size=600) as out:
        schema = out.add_schema("std_msgs/msg/String", "ros2msg", TEXT)
        even, odd = out.add_channel("/even", "cdr", schema), out.add_channel("/odd", "cdr", schema)
        for k in range(count):
            out.write(odd if k % 2 else even, log_time=START + k * SECOND, data=_text(k))
    return path


def _bag(path: Path, count: int = 100) -> Path:
    from rosbags.rosbag1 import Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC)
    writer = Writer(path)
    writer.chunk_threshold = 600
    with writer as out:
        topics = [out.add_connection(name, "std_msgs/msg/String", typestore=store) for name in ("/even", "/odd")]
        for k in range(count):
            out.write(topics[k % 2], START + k * SECOND, (4).to_bytes(4, "little") + f"{k:04}".encode())
    return path


def _db3(folder: Path, count: int = 100) -> Path:
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    with Writer(folder, version=9, storage_plugin=StoragePlugin.SQLITE3) as out:
        topics = [out.add_connection(name, "std_msgs/msg/String", typestore=store) for name in ("/even", "/odd")]
        for k in range(count):
            out.write(topics[k % 2], START + k * SECOND, _text(k))
    return folder


@pytest.fixture(params=["mcap", "bag", "db3"])
def log(request, tmp_path) -> Path:
    """A log of 100 strings, one a second, on /even and /odd."""
    if request.param == "mcap":
        return _mcap(tmp_path / "drive.mcap")
    return _bag(tmp_path / "drive.bag") if request.param == "bag" else _db3(tmp_path / "drive")


def test_columns_and_rows_are_the_same(log: Path) -> None:
    frame = rd.read_log(log, "/odd")
    assert frame.columns == ["recording", "log_time", "publish_time", "sequence", "header_stamp", "data"]
    found = frame.collect()
    assert found["recording"].unique().to_list() == ["drive"]
    assert found["data"].to_list() == [f"{k:04}" for k in range(1, 100, 2)]
    assert found["log_time"].cast(pl.Int64).to_list() == [START + k * SECOND for k in range(1, 100, 2)]
    every = rd.read_rosbag(log)
    assert every.columns == ["recording", "topic", "type", "log_time", "publish_time", "sequence", "size", "data"]
    assert every.collect()["topic"].to_list() == ["/even", "/odd"] * 50


def test_topic_time_and_limit_are_exact(log: Path) -> None:
    at = rd.read_log(log).select("log_time").head(41).collect()["log_time"]
    frame = rd.read_log(log).filter((rd.col("topic") == "/even") & (rd.col("log_time") >= at[40]))
    text = str(frame.explain("optimized"))
    assert "(exact)" in text
    assert "Filter" not in text
    assert frame.collect().height == frame.count_rows() == 30
    assert frame.head(3).collect()["log_time"].cast(pl.Int64).to_list() == [START + k * SECOND for k in (40, 42, 44)]
    bounded = rd.read_log(log, "/odd", start=START + 10 * SECOND, end=START + 20 * SECOND)
    assert bounded.collect()["data"].to_list() == ["0011", "0013", "0015", "0017", "0019"]


def test_the_same_from_sql(log: Path) -> None:
    query = f"select data from log('{log}', topic => '/odd') where log_time < timestamp '2023-11-14 22:13:25'"
    assert rd.sql(query).collect()["data"].to_list() == ["0001", "0003"]
    counted = rd.sql(f"select topic, count(*) n from read_rosbag('{log}') group by topic order by topic")
    assert counted.collect().rows() == [("/even", 50), ("/odd", 50)]


def test_open_log(log: Path) -> None:
    found = rd.open_log(log)
    topics = found.topics
    assert topics["topic"].to_list() == ["/even", "/odd"]
    assert topics["count"].to_list() == [50, 50]
    assert found.message_count == 100
    assert found.recordings == ["drive"]
    assert found["/even"].collect().height == 50
    assert found.duration == timedelta(seconds=99)
    assert found.health().topics["gaps"].to_list() == [0, 0]


def test_a_part_of_a_long_log_is_read_in_part(tmp_path) -> None:
    for path in (_mcap(tmp_path / "a.mcap", 5_000), _bag(tmp_path / "b.bag", 5_000)):
        frame = rd.read_log(path, "/odd", start=START + 1_000 * SECOND, end=START + 1_010 * SECOND)
        size = path.stat().st_size
        before = read.bytes
        assert frame.collect().height == 5
        assert read.bytes - before < size / 10


# -- recordings and files -------------------------------------------------------------------------------------


def test_splits_of_a_recording_are_one_recording(real_data) -> None:
    folder = real_data / "db3/rosbag2/rosbag2_py/test/resources/sqlite3/wbag"
    frame = rd.read_log(folder)
    counts = frame.group_by("recording").len().collect()
    assert counts.rows() == [("wbag", 6074)]
    assert rd.read_log(folder / "wbag_1.db3").collect()["recording"].unique().to_list() == ["wbag"]


def test_files_of_one_name_are_told_apart(tmp_path) -> None:
    for name in ("monday", "tuesday"):
        (tmp_path / name).mkdir()
        _mcap(tmp_path / name / "drive.mcap", 3)
    found = rd.read_log(tmp_path).group_by("recording", maintain_order=True).len().collect()
    assert found.rows() == [("monday/drive", 3), ("tuesday/drive", 3)]


def test_formats_are_mixed(tmp_path) -> None:
    _mcap(tmp_path / "a.mcap")
    _bag(tmp_path / "b.bag")
    _db3(tmp_path / "c")
    frame = rd.read_log(tmp_path, "/odd")
    found = frame.group_by("recording", maintain_order=True).len().collect()
    assert found.rows() == [("a", 50), ("b", 50), ("c", 50)]
    assert set(frame.collect()["data"]) == {f"{k:04}" for k in range(1, 100, 2)}
    assert rd.read(tmp_path).count_rows() == 300
    assert rd.read_mcap(tmp_path).count_rows() == 100
    only = frame.filter(rd.col("recording") == "b")
    assert "1 file," in str(only.explain("physical"))


@pytest.mark.parametrize("ending", [".zst", ".zstd"])
def test_compressed_files(tmp_path, ending: str) -> None:
    made = [_mcap(tmp_path / "a.mcap"), _bag(tmp_path / "b.bag"), next(_db3(tmp_path / "c").glob("*.db3"))]
    for path in made:
        packed = tmp_path / "packed" / (path.name + ending)
        packed.parent.mkdir(exist_ok=True)
        packed.write_bytes(zstandard.ZstdCompressor().compress(path.read_bytes()))
    found = rd.read_log(tmp_path / "packed", "/odd").group_by("recording", maintain_order=True).len().collect()
    assert found.rows() == [("a", 50), ("b", 50), ("c", 50)]


def test_what_is_left_of_a_compressed_file(tmp_path) -> None:
    packed = zstandard.ZstdCompressor().compress(_mcap(tmp_path / "a.mcap", 20_000).read_bytes())
    path = tmp_path / "b.mcap.zst"
    path.write_bytes(packed[: len(packed) * 3 // 4])
    with pytest.raises(FileFormatError, match=r"b.mcap.zst"):
        rd.read_log(path)
    frame = rd.read_log(path, on_error="collect")
    assert 0 < frame.collect().height < 20_000
    assert frame.errors.height > 0


def test_a_wal_that_grows_is_seen(tmp_path) -> None:
    source = next(_db3(tmp_path / "drive").glob("*.db3"))
    assert rd.read_log(source).count_rows() == 100
    connection = sqlite3.connect(source)
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma wal_autocheckpoint=0")
    counts = []
    for _ in range(2):
        connection.execute("insert into messages(topic_id, timestamp, data) select 1, 5, x'00'")
        connection.commit()
        counts.append(rd.read_log(source).count_rows())
    connection.close()
    assert counts == [101, 102]


def test_remote_files(tmp_path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in (_mcap(tmp_path / "a.mcap"), _bag(tmp_path / "b.bag"), next(_db3(tmp_path / "c").glob("*.db3"))):
        memory.pipe_file(f"/logs/{path.name}", path.read_bytes())
    try:
        frame = rd.read_log("memory://logs", "/odd")
        assert frame.group_by("recording", maintain_order=True).len().collect()["len"].to_list() == [50, 50, 50]
    finally:
        memory.rm("/logs", recursive=True)


def test_remote_reads_are_few_and_large(tmp_path, monkeypatch) -> None:
    import fsspec

    from robodf.io import files

    asked: list[tuple[int, int]] = []
    plain = files._RemoteBytes.read

    def spy(self, offset: int, length: int) -> bytes:
        asked.append((offset, length))
        return plain(self, offset, length)

    monkeypatch.setattr(files._RemoteBytes, "read", spy)
    memory = fsspec.filesystem("memory")
    path = _mcap(tmp_path / "a.mcap", 5_000)  # some 400 chunks
    memory.pipe_file("/far/a.mcap", path.read_bytes())
    try:
        frame = rd.read_log("memory://far/a.mcap", "/odd")
        opening = len(asked)
        assert opening <= 3
        assert frame.collect().equals(rd.read_log(path, "/odd").collect())
        assert len(asked) - opening <= 2
        asked.clear()
        assert rd.read_log("memory://far/a.mcap", "/odd").head(3).collect().height == 3
        assert sum(length for _, length in asked) < path.stat().st_size / 10
    finally:
        memory.rm("/far", recursive=True)


def test_chunks_far_apart_are_fetched_apart() -> None:
    from robodf.io.coalesce import GAP, LARGEST, coalesced
    from robodf.io.files import FileReader

    asked: list[tuple[int, int]] = []

    class Far:
        def read(self, offset: int, length: int) -> bytes:
            asked.append((offset, length))
            return bytes(length)

        def close(self) -> None: ...

    places = [(0, 100), (100 + GAP, 50), (200 + 3 * GAP, 10), (5 << 30, LARGEST), ((5 << 30) + LARGEST, 7)]
    far = FileReader("far", 1 << 40, Far())
    file = coalesced(far, places)
    for offset, length in places:
        assert len(file.read_at(offset, length)) == length
    assert asked == [(0, 150 + GAP), (200 + 3 * GAP, 10), (5 << 30, LARGEST), ((5 << 30) + LARGEST, 7)]
    assert len(file.read_at(0, 100)) == 100  # again, though its run is let go
    assert asked[-1] == (0, 100)


def test_a_name_without_an_ending_is_known_by_its_content(tmp_path) -> None:
    for path in (
        _mcap(tmp_path / "a.mcap", 4),
        _bag(tmp_path / "b.bag", 4),
        next(_db3(tmp_path / "c", 4).glob("*.db3")),
    ):
        bare = path.rename(tmp_path / f"{path.suffix[1:]}_log")
        assert rd.read_log(bare).count_rows() == rd.read(bare).count_rows() == 4
    (tmp_path / "noise").write_bytes(b"what is this?")
    with pytest.raises(FileFormatError, match=r"noise: is no log of a format"):
        rd.read_log(tmp_path / "noise")


def test_a_missing_split_is_told(tmp_path) -> None:
    folder = _db3(tmp_path / "drive")
    text = (folder / "metadata.yaml").read_text()
    name = next(folder.glob("*.db3")).name
    (folder / "metadata.yaml").write_text(text.replace(f"- {name}", f"- {name}\n  - drive_1.db3", 1))
    with pytest.raises(NoFilesError, match=r"metadata.yaml lists .*drive_1.db3, but it is not there"):
        rd.read_log(folder)
    with pytest.raises(NoFilesError, match="on_error='collect'"):
        rd.open_log(folder)
    frame = rd.read_log(folder, on_error="collect")
    assert frame.collect().height == 100
    assert "not there" in frame.errors["error"].item()
    assert rd.read_log(folder / name).collect().height == 100  # the file alone was asked for
    assert "not there" in rd.open_log(folder, on_error="skip").problems[0]


def test_damaged_and_foreign_metadata(tmp_path) -> None:
    folder = _db3(tmp_path / "drive")
    (folder / "metadata.yaml").write_text("name: somebody else's file\n")
    assert rd.read_log(folder).collect()["recording"].unique().to_list() == ["drive"]
    (folder / "metadata.yaml").write_text("rosbag2_bagfile_information: {version: [")
    with pytest.raises(FileFormatError, match=r"metadata.yaml"):
        rd.read_log(folder)
    frame = rd.read_log(folder, on_error="collect")
    assert frame.collect().height == 100
    assert "metadata.yaml" in frame.errors["file"].item()


def test_nothing_is_written_beside_a_log(log: Path) -> None:
    folder = log if log.is_dir() else log.parent
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    rd.read_log(log).collect()
    rd.open_log(log).health()
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


def test_what_a_wal_holds_is_read(tmp_path) -> None:
    source = next(_db3(tmp_path / "drive").glob("*.db3"))
    connection = sqlite3.connect(source)
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma wal_autocheckpoint=0")
    connection.execute(
        "insert into messages(topic_id, timestamp, data) select topic_id, timestamp + 1, data from messages"
    )
    connection.commit()
    left = tmp_path / "left"
    left.mkdir()
    for name in (source.name, source.name + "-wal"):  # as after a crash: no checkpoint was made
        shutil.copy(source.with_name(name), left / name)
    connection.close()
    assert rd.read_log(left).count_rows() == rd.read_log(left).collect().height == 200
    assert sorted(p.name for p in left.iterdir()) == [source.name, source.name + "-wal"]


# -- real files of other people's tools -----------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(EXPECTED) or ["EXPECTED_messages.json"])
def test_every_message_of_real_files(real_data, name: str) -> None:
    wanted = EXPECTED[name]
    frame = rd.read_log(real_data / name, on_error="collect").collect()
    assert frame.height == wanted["total"]
    for topic, facts in wanted["topics"].items():
        rows = frame.filter(pl.col("topic") == topic)
        if not name.endswith(".mcap"):
            rows = rows.sort("log_time", maintain_order=True)
        times = rows["log_time"].cast(pl.Int64)
        found = {
            "n": rows.height,
            "t0": times.min(),
            "t1": times.max(),
            "bytes": rows["size"].sum(),
            "ooo": int((rows["log_time"].diff() < timedelta(0)).sum()),
            "pubdiff": int((rows["log_time"] != rows["publish_time"]).sum()),
            "md5": hashlib.md5(b"".join(rows["data"].to_list())).hexdigest(),
        }
        assert {key: found[key] for key in found if key in facts} == {key: facts[key] for key in found if key in facts}
        assert {"n", "t0", "t1", "md5"} <= facts.keys()
    typed = [t for t in wanted["topics"] if wanted["topics"][t]["n"]]
    for topic in typed[:20]:
        assert rd.read_log(real_data / name, topic, on_error="collect").collect().height == wanted["topics"][topic]["n"]


def test_a_wrong_topic_names_the_users_line(log: Path) -> None:
    with pytest.raises(rd.errors.QueryError, match=r"did you mean '/even'.*\n  at test_logs.py:\d+: rd.read_log"):
        rd.read_log(log, "/evn")


@pytest.mark.parametrize(
    ("start", "end", "kept"),
    [(None, None, 3), (-5, 1 << 65, 3), (6, None, 2), (None, 6, 1), (1 << 64, None, 0), (None, 0, 0), (None, -1, 0)],
)
def test_a_shared_chunk_is_cut_as_one_that_is_read_alone(start, end, kept: int) -> None:
    from robodf.io.logs.sharing import select

    time = np.array([5, 6, (1 << 64) - 1], np.uint64)
    ids, zeros = np.array([1, 1, 1], np.uint16), np.zeros(3, np.int64)
    found = Messages(ids, zeros.astype(np.uint32), time, time, zeros, zeros, b"")
    assert len(select(found, frozenset([1]), start, end)) == kept
    assert len(select(found, frozenset([2]), start, end)) == 0
