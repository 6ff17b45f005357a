"""Damaged LeRobot data sets: each reads, in whole or in part, or says what is wrong, and nothing else happens."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from samples_lerobot import samples

import robodf as rd
from robodf.errors import RobodfError

KINDS = ("meta", ".parquet", ".mp4")


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Bytes changed, cut off, left out or repeated."""
    found = bytearray(data)
    how = chance.randrange(4)
    if how == 0:
        for _ in range(chance.randint(1, 8)):
            found[chance.randrange(len(found))] = chance.randrange(256)
    elif how == 1:
        del found[chance.randrange(len(found)) :]
    elif how == 2:
        at = chance.randrange(len(found))
        del found[at : at + chance.randint(1, 64)]
    else:
        at = chance.randrange(len(found))
        found[at:at] = found[at : at + chance.randint(1, 64)]
    return bytes(found)


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    return samples()


def write(root: Path, files: dict[str, bytes], version: str) -> None:
    for name, data in files.items():
        if name.startswith(version):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_files_read_or_say_what_is_wrong(whole: dict[str, bytes], tmp_path: Path, kind: str) -> None:
    chance = random.Random(kind)
    names = [n for n in sorted(whole) if (kind == "meta") == ("/meta/" in n) and (kind == "meta" or n.endswith(kind))]
    outcomes = {"read": 0, "refused": 0}
    write(tmp_path, whole, "")
    for _ in range(60 if kind != ".mp4" else 30):
        name = chance.choice(names)
        root = tmp_path / name.split("/")[0]
        (tmp_path / name).write_bytes(mutated(whole[name], chance))
        on_error = chance.choice(["raise", "collect"])
        try:
            df = rd.read_lerobot(root, on_error=on_error)
            found = df.collect()
            assert found.columns == df.columns
            for table in ("episodes", "tasks", "stats"):
                rd.read_lerobot(root, table=table, on_error=on_error).collect()
            outcomes["read"] += 1
        except RobodfError as error:
            outcomes["refused"] += bool(str(error))
        (tmp_path / name).write_bytes(whole[name])
    assert min(outcomes.values()) > 0, outcomes
    for version in ("v2", "v3"):
        assert rd.read_lerobot(tmp_path / version).collect().height == 12


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("info.json", '{"features": {"action": {"dtype": "video"}}, "fps": -3, "codebase_version": 7}'),
        ("info.json", '{"features": {"a": ' + '{"b":' * 50 + "1" + "}" * 50 + '}, "fps": 1e400}'),
        ("info.json", '{"fps": ' + "9" * 5000 + "}"),
        ("tasks.jsonl", '{"task_index": "0", "task": "x"}'),
        ("tasks.jsonl", '{"task_index": 99999999999999999999, "task": "x"}'),
        ("tasks.jsonl", "\xff\x00"),
        ("tasks.jsonl", "[]\n[]"),
        ("episodes.jsonl", '{"episode_index": -1}'),
        ("episodes.jsonl", '{"episode_index": 1.5}'),
        ("episodes.jsonl", '{"episode_index": 0, "length": "long", "tasks": {"a": 1}}'),
        ("episodes_stats.jsonl", '{"episode_index": 0, "stats": {"action": {"mean": ' + "[" * 900 + "]" * 900 + "}}}"),
        ("stats.json", '{"action": {"mean": [1e999, null, "x", true, 1' + "0" * 400 + "]}}"),
    ],
)
def test_metadata_of_any_shape_reads_or_says_what_is_wrong(
    whole: dict[str, bytes], tmp_path: Path, name: str, text: str
) -> None:
    write(tmp_path, whole, "v2")
    (tmp_path / "v2/meta" / name).write_bytes(text.encode("latin-1"))
    heights, said = [], []
    for table in ("frames", "episodes", "tasks", "stats"):
        for on_error in ("raise", "collect"):
            try:
                heights.append(rd.read_lerobot(tmp_path / "v2", table=table, on_error=on_error).collect().height)
            except RobodfError as error:
                said.append(str(error))
    assert all("meta/" in text for text in said)
    assert 12 in heights  # the frames are there whatever the metadata says, at least where problems are collected


@pytest.mark.parametrize(
    ("version", "name", "table"),
    [("v2", "tasks.jsonl", "tasks"), ("v2", "episodes.jsonl", "episodes"), ("v2", "episodes_stats.jsonl", "stats"),
     ("v3", "tasks.parquet", "tasks"), ("v3", "episodes/chunk-000/file-000.parquet", "episodes"),
     ("v3", "stats.json", "stats")],
)  # fmt: skip
def test_what_a_table_lacks_is_told(
    whole: dict[str, bytes], tmp_path: Path, version: str, name: str, table: str
) -> None:
    write(tmp_path, whole, version)
    (tmp_path / version / "meta" / name).write_bytes(b"{")
    df = rd.read_lerobot(tmp_path / version, table=table, on_error="collect")
    df.filter(rd.col(df.columns[0]).is_not_null()).head(1).collect()
    assert any(file.endswith(name) for file in df.errors["file"])


def test_a_link_to_itself_and_strange_names_are_no_files_of_the_set(whole: dict[str, bytes], tmp_path: Path) -> None:
    write(tmp_path, whole, "v2")
    root = tmp_path / "v2"
    (root / "data/loop").symlink_to(root / "data", target_is_directory=True)
    (root / "data/chunk-000/episode_zzz.parquet").write_bytes(b"")
    shutil.copytree(root / "videos/chunk-000", root / "videos/old/chunk-000")
    assert rd.read_lerobot(root).select("index").collect().height == 12


def test_a_schema_whose_metadata_is_no_text_is_read(whole: dict[str, bytes], tmp_path: Path) -> None:
    write(tmp_path, whole, "v2")
    file = tmp_path / "v2/data/chunk-000/episode_000000.parquet"
    file.write_bytes(file.read_bytes().replace(b"ARROW:schema", b"ARROW:\xffchema"))
    assert rd.read_lerobot(tmp_path / "v2").select("index", "action").collect().height == 12
