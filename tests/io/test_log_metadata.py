"""rosbag2's metadata.yaml, and the temporary copies of logs."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import zstandard

from robodf.errors import FileFormatError, NoFilesError
from robodf.io import yaml_text
from robodf.io.files import FileReader, open_file
from robodf.io.logs import local_copy as copies
from robodf.io.logs.local_copy import local_copy
from robodf.io.logs.metadata import metadata_beside, parse_metadata, read_metadata
from robodf.io.yaml_text import MOST_BYTES


def test_every_real_metadata_is_read_and_agrees_with_itself(real_data):
    found = [read_metadata(path) for path in sorted((real_data / "db3").rglob("metadata.yaml"))]
    assert len(found) > 15
    assert {m.version for m in found} >= {4, 5, 6, 7, 8}
    for said in found:
        assert said.storage_identifier in ("sqlite3", "mcap")
        assert sum(said.topic_counts.values()) == said.message_count
        assert not said.compression_mode
        assert said.files
        if said.file_counts:
            assert sum(said.file_counts.values()) == said.message_count


def test_files_of_a_split_recording_are_in_its_order(real_data):
    folder = real_data / "db3/rosbag2/rosbag2_py/test/resources/sqlite3/wbag"
    found = read_metadata(folder)
    assert found.name == "wbag"
    assert found.files == tuple(f"wbag_{i}.db3" for i in range(5))
    assert (found.start_time, found.duration, found.message_count) == (2623, 411, 6074)
    assert found.topic_types["HHH"] == "std_msgs/msg/String"
    assert metadata_beside(str(folder / "wbag_3.db3")) == found
    assert metadata_beside(f"file://{folder}/wbag_3.db3") == found
    assert metadata_beside(str(folder / "other.db3")) is None
    assert metadata_beside("s3://bucket/wbag_3.db3") is None


NEW = """rosbag2_bagfile_information:
  version: 9
  storage_identifier: mcap
  duration: {nanoseconds: 5}
  starting_time: {nanoseconds_since_epoch: 7}
  message_count: 3
  topics_with_message_count:
    - topic_metadata:
        name: /a
        type: std_msgs/msg/String
        serialization_format: cdr
        offered_qos_profiles: &1
          - history: keep_last
            depth: 5
        type_description_hash: RIHS01_0
      message_count: 1
    - topic_metadata: {name: /é, type: std_msgs/msg/String, offered_qos_profiles: *1}
      message_count: 2
  compression_format: zstd
  compression_mode: FILE
  relative_file_paths:
    - "a_0.mcap.zstd"
    - sub/a_1.mcap.zstd
  files:
    - path: a_0.mcap
      starting_time: {nanoseconds_since_epoch: 7}
      duration: {nanoseconds: 5}
      message_count: 3
  custom_data: ~
  ros_distro: jazzy
"""


@pytest.mark.parametrize("text", [NEW, NEW.encode(), "\ufeff".encode() + NEW.encode(), NEW.replace("\n", "\r\n")])
def test_the_newest_version(text):
    found = parse_metadata(text, "/data/drive/metadata.yaml")
    assert (found.name, found.version, found.ros_distro) == ("drive", 9, "jazzy")
    assert found.files == ("a_0.mcap.zstd", "sub/a_1.mcap.zstd")
    assert (found.compression_format, found.compression_mode) == ("zstd", "file")
    assert found.topic_counts == {"/a": 1, "/é": 2}
    assert found.file_counts == {"a_0.mcap": 3}


@pytest.mark.parametrize(
    "body", ["{}", "{version: ~, files: , message_count: '', duration: 5}", "{unknown: [1, {2: 3}]}"]
)
def test_what_is_not_said_is_not_made_up(body):
    found = parse_metadata(f"rosbag2_bagfile_information: {body}", "metadata.yaml")
    assert (found.version, found.message_count, found.start_time, found.duration) == (None, None, None, None)
    assert (found.files, found.topic_counts, found.compression_mode) == ((), {}, "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rosbag2_bagfile_information"),
        ("- 1", "no rosbag2_bagfile_information"),
        ("rosbag2_bagfile_information: 5", "no rosbag2_bagfile_information"),
        ("rosbag2_bagfile_information: {version: one}", "version is not a whole number"),
        ("rosbag2_bagfile_information: {version: [1]}", "version is not a text"),
        ("rosbag2_bagfile_information: {message_count: 99999999999999999999999}", "at most 19 digits"),
        ("rosbag2_bagfile_information: {message_count: ٣}", "message_count"),
        ("rosbag2_bagfile_information: {relative_file_paths: a.db3}", "relative_file_paths is not a list"),
        ("rosbag2_bagfile_information: {relative_file_paths: [[a.db3]]}", "no file name"),
        ("rosbag2_bagfile_information: {topics_with_message_count: [{message_count: 1}]}", "no topic_metadata"),
        ("rosbag2_bagfile_information: {relative_file_paths: [*nothing]}", "anchor"),
        ("rosbag2_bagfile_information: {version: 1", "not valid YAML"),
        ("a: \t- b\n c", "not valid YAML"),
        ('a: "\\UFFFFFFFF"', "not valid YAML"),
        ("a: \x00", "not valid YAML"),
        ("[" * 5000, "nested more than"),
        (b"\xff\xfe\x00", "not UTF-8"),
        ("x" * (MOST_BYTES + 1), "has more than"),
    ],
)  # fmt: skip
def test_damaged_metadata_is_refused(text, message):
    with pytest.raises(FileFormatError, match=message):
        parse_metadata(text, "metadata.yaml")


@pytest.mark.parametrize(
    "name",
    ["../a.db3", "a/../../b.db3", "/etc/passwd", "..", "a\\..\\..\\b", "\\\\host\\a", "C:\\a.db3", "s3://b/a.db3", ""],
)
def test_files_outside_of_the_folder_are_refused(name):
    with pytest.raises(FileFormatError, match="outside of its folder|no file name"):
        parse_metadata(f"rosbag2_bagfile_information: {{relative_file_paths: ['{name}']}}", "metadata.yaml")


def test_references_do_not_multiply(monkeypatch):
    monkeypatch.setattr(yaml_text, "_MOST_NODES", 3000)
    lines = ["a0: &a0 {k: v}"]
    lines += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 60)]
    text = "\n".join([*lines, "rosbag2_bagfile_information: {version: 3, relative_file_paths: *a59}"])
    with pytest.raises(FileFormatError, match="more than 3000 values"):
        parse_metadata(text, "metadata.yaml")
    many = "rosbag2_bagfile_information: [" + "1," * 3000 + "]"
    with pytest.raises(FileFormatError, match="more than 3000 values"):
        parse_metadata(many, "metadata.yaml")


def test_tags_are_not_followed():
    text = "rosbag2_bagfile_information: {ros_distro: !!python/object/apply:os.system [echo]}"
    with pytest.raises(FileFormatError, match="ros_distro is not a text"):
        parse_metadata(text, "metadata.yaml")


def test_mutated_metadata_is_refused_or_read():
    source = random.Random(1)
    outcomes = set()
    for _ in range(300):
        data = bytearray(NEW.encode())
        for _ in range(source.choice((1, 5))):
            data[source.randrange(len(data))] = source.randrange(256)
        try:
            parse_metadata(bytes(data), "metadata.yaml")
            outcomes.add("read")
        except FileFormatError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_no_metadata(tmp_path):
    with pytest.raises(NoFilesError, match="metadata.yaml"):
        read_metadata(tmp_path)
    assert metadata_beside(str(tmp_path / "a.db3")) is None


# -- copies -----------------------------------------------------------------------------------------------------------

DATA = random.Random(2).randbytes(3_000_000) + bytes(3_000_000)
CHECKED = zstandard.ZstdCompressor(write_checksum=True).compress(DATA)


class _Bytes:
    """A remote file."""

    def __init__(self, data: bytes):
        self.data = data

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]

    def close(self) -> None:
        """Nothing is open."""


def _remote(name: str, data: bytes) -> FileReader:
    return FileReader(name, len(data), _Bytes(data))


def test_a_remote_file_is_copied_once_for_each_of_its_states():
    file = _remote("s3://b/plain.db3", DATA)
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: local_copy(file, file.path), range(8)))
    assert len(paths) == 1
    with open(paths.pop(), "rb") as copy:
        assert copy.read() == DATA
    changed = _remote("s3://b/plain.db3", DATA[:-1] + b"x")
    with open(local_copy(changed, changed.path), "rb") as copy:
        assert copy.read() == changed._source.read(0, changed.size)


@pytest.mark.parametrize("ending", [".db3.zst", ".MCAP.ZSTD"])
def test_compressed_files_are_decompressed(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    half = len(DATA) // 2
    two = zstandard.compress(DATA[:half]) + zstandard.ZstdCompressor(write_content_size=False).compress(DATA[half:])
    path.write_bytes(two)
    with open_file(path) as file:
        copy = local_copy(file, str(path))
    with open_file(copy) as file:
        assert file.read_at(0, file.size) == DATA
    path.write_bytes(zstandard.compress(b"new"))
    os.utime(path, ns=(1, 1))
    with open_file(path) as file, open_file(local_copy(file, str(path))) as new:
        assert new.read_at(0, new.size) == b"new"


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"not zstd at all", "damaged after 0"),
        (zstandard.compress(DATA)[:-1000], "cut off after"),
        (zstandard.compress(DATA)[:2], "cut off after 0"),
        (zstandard.compress(DATA) + b"rubbish", "damaged after 6000000"),
        (CHECKED[:2_000_000] + bytes(100) + CHECKED[2_000_100:], "damaged after [1-9]"),
    ],
    ids=range(6),
)
def test_damaged_compressed_files(data, message, on_error, request):
    file = _remote(f"{request.node.name}.db3.zst", data)
    if on_error == "raise" or "after 0" in message or not data:
        with pytest.raises(FileFormatError, match=message):
            local_copy(file, file.path, on_error)
    else:
        with open(local_copy(file, file.path, on_error), "rb") as copy:
            kept = copy.read()
        assert kept
        # A zstd block that is damaged inside may decode to other bytes: what precedes the damage is right.
        assert kept[:1_900_000] == DATA[:1_900_000]


def test_a_small_file_cannot_fill_the_disk(monkeypatch):
    monkeypatch.setattr(copies, "ALWAYS_ALLOWED", 1 << 20)
    bomb = _remote("bomb.db3.zst", zstandard.compress(bytes(100 << 20)))
    with pytest.raises(FileFormatError, match="which is not believed"):
        local_copy(bomb, bomb.path)
    assert local_copy(_remote("good.db3.zst", zstandard.compress(bytes(1 << 20))), "good.db3.zst")


def test_a_full_disk_is_told_before_anything_is_written(monkeypatch):
    monkeypatch.setattr(copies.shutil, "disk_usage", lambda _: SimpleNamespace(free=64 << 20))
    file = _remote("s3://b/large.db3", b"12345")
    with pytest.raises(OSError, match="does not fit into .*TMPDIR"):
        local_copy(file, file.path)


def test_copies_are_gone_when_the_process_ends(tmp_path):
    path = tmp_path / "a.db3.zst"
    path.write_bytes(zstandard.compress(b"content"))
    code = (
        "import atexit, os, sys\n"
        "from robodf.io.files import open_file\n"
        "from robodf.io.logs.local_copy import local_copy\n"
        "register, kept = atexit.register, []\n"
        "atexit.register = lambda f, *args: kept.append((f, args)) or register(f, *args)\n"
        "copy = local_copy(open_file(sys.argv[1]), sys.argv[1])\n"
        "child = os.fork()\n"
        # Our handlers alone: Polars 1.44 hangs on the way out of a forked process, with or without robodf.
        "if not child:\n"
        "    for f, args in kept: f(*args)\n"
        "    os._exit(0 if kept else 1)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert os.path.exists(copy), 'the child deleted the copy of its parent'\n"
        "print(copy)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    copy = done.stdout.strip()
    assert copy
    assert not os.path.exists(os.path.dirname(copy))
