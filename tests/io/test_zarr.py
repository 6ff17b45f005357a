"""Zarr folders as rows: values equal those of zarr, only what a query needs is read, and nothing is unpickled."""

from __future__ import annotations

import json
import pickle
import random
import resource
import shutil
from pathlib import Path

import fsspec
import numcodecs
import numpy as np
import polars as pl
import pytest
import zarr
from polars.testing import assert_frame_equal
from samples_zarr import folders, write

import robodf as rd
from robodf.errors import FileFormatError, NoFilesError, OptionError, RobodfError
from robodf.images.layout import to_arrays
from robodf.io.counting import read as counter
from robodf.io.source import LOCATOR, Request
from robodf.io.zarr import zarr_rows

FOLDERS = folders()


@pytest.fixture
def stores(tmp_path: Path) -> dict[str, Path]:
    return {name: write(files, tmp_path / name) for name, files in FOLDERS.items()}


def check(root: Path, rows: pl.DataFrame, names: dict[str, str]) -> None:
    store = zarr.open_group(root, mode="r")
    for column, key in names.items():
        values = store[key][:]
        if isinstance(rows.schema[column], pl.Struct):
            assert all(np.array_equal(a, b) for a, b in zip(to_arrays(rows[column]), values, strict=True))
        elif values.dtype.kind in "UT":
            assert rows[column].to_list() == values.tolist()
        else:
            assert np.array_equal(rows[column].to_numpy(), values), column


def test_steps_of_a_replay_buffer(stores: dict[str, Path]) -> None:
    root = stores["buffer.zarr"]
    rows = rd.read(root).collect()
    check(root, rows, {name: f"data/{name}" for name in ("action", "camera0_rgb", "timestamp")})
    lengths = rows.group_by("episode", maintain_order=True).agg(
        pl.len(), pl.col("step").max(), pl.col("meta_quality").unique()
    )
    assert lengths.rows() == [("episode_0", 5, 4, [1]), ("episode_2", 9, 8, [3]), ("episode_3", 10, 9, [2])]


def test_the_real_buffer_equals_what_zarr_reads(real_data: Path) -> None:
    root = real_data / "generated" / "replay_buffer_isaac.zarr"
    rows = rd.read_zarr(root).collect()
    check(root, rows, {name: f"data/{name}" for name in ("action", "eef_pos", "gripper_pos")})
    assert rows["episode_index"].n_unique() == 10


@pytest.mark.parametrize("name", ["version_2.zarr", "version_3.zarr"])
def test_arrays_of_equal_length_are_one_table(stores: dict[str, Path], name: str) -> None:
    rows = rd.read_zarr(stores[name]).collect()
    keys = [key for key, _ in zarr.open_group(stores[name], mode="r").arrays()]
    assert set(rows.columns) == {"path", "row", *keys}
    check(stores[name], rows, {key: key for key in keys})
    one = rd.read_zarr(stores[name], array=keys[0]).filter(rd.col("row") == 20).collect()
    assert one[keys[0]].to_list() == rows[keys[0]][20:21].to_list()


def chunks_of(query: rd.PipelineDataFrame) -> tuple[pl.DataFrame, int]:
    before = counter.chunks
    found = query.collect()
    return found, counter.chunks - before


def test_only_the_chunks_of_the_rows_are_read_each_once(
    stores: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    df = rd.read_zarr(stores["buffer.zarr"])
    found, chunks = chunks_of(df.filter((rd.col("episode_index") == 2) & (rd.col("step") < 2)).select("action"))
    assert (found.height, chunks) == (2, 1 + 1)  # and the ends of episodes
    assert df.filter(rd.col("meta_quality") > 1).count_rows() == 19
    shards = rd.read_zarr(stores["version_3.zarr"], array="sharded")
    _, chunks = chunks_of(shards.filter(rd.col("row").is_in([3, 9])))
    assert chunks == 2
    monkeypatch.setattr("robodf.io.zarr._BATCH_ROWS", 3)
    again, chunks = chunks_of(rd.read_zarr(stores["version_3.zarr"]).select("plain", "sharded"))
    assert chunks == 6 * 4 + 12
    monkeypatch.undo()
    assert_frame_equal(again, rd.read_zarr(stores["version_3.zarr"]).select("plain", "sharded").collect())


def test_rows_are_found_again_and_parts_travel(stores: dict[str, Path]) -> None:
    other = stores["buffer.zarr"].with_name("other.zarr")
    shutil.copytree(stores["buffer.zarr"], other)
    source = pickle.loads(pickle.dumps(zarr_rows([str(stores["buffer.zarr"]), str(other)], None, "raise", None)))
    whole = source.scan(Request(tuple(source.schema), locator=True)).collect()
    some = whole[[2, 23, 24, 40]]
    assert_frame_equal(pl.concat(source.fetch(some[LOCATOR].to_numpy(), ("action",))), some.select("action"))
    part = source.part((list(source.splits(Request(("action",))))[1],))
    assert part.scan(Request(("path",))).collect()["path"].unique().to_list() == [str(other)]


def test_remote_folders_and_zips(stores: dict[str, Path], tmp_path: Path) -> None:
    here = rd.read_zarr(stores["buffer.zarr"]).drop("path").collect()
    shutil.make_archive(str(tmp_path / "buffer"), "zip", stores["buffer.zarr"])
    assert_frame_equal(rd.read_zarr(f"zip://::{tmp_path / 'buffer.zip'}").drop("path").collect(), here)
    memory = fsspec.filesystem("memory")
    memory.put(str(stores["buffer.zarr"]), "/robodf-buffer.zarr", recursive=True)
    try:
        assert_frame_equal(rd.read_zarr("memory://robodf-buffer.zarr").drop("path").collect(), here)
    finally:
        memory.rm("/robodf-buffer.zarr", recursive=True)


class Bomb:
    """What calls `print` where it is unpickled."""

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return open, ("/tmp/robodf-was-unpickled", "w")


@pytest.mark.parametrize("codec", [numcodecs.Pickle(), numcodecs.JSON(), numcodecs.VLenUTF8()])
def test_arrays_of_objects_are_refused(tmp_path: Path, codec: numcodecs.abc.Codec) -> None:
    root = tmp_path / "objects.zarr"
    root.mkdir()
    meta = {"zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|O", "compressor": None, "fill_value": None,
            "order": "C", "filters": [codec.get_config()]}  # fmt: skip
    (root / ".zarray").write_text(json.dumps(meta))
    (root / "0").write_bytes(pickle.dumps(np.array([Bomb()], object)))
    with pytest.raises(FileFormatError, match="pickled objects, which are never loaded"):
        rd.read_zarr(root)
    named = write(FOLDERS["version_2.zarr"], tmp_path / "named.zarr")
    (named / "objects").mkdir()
    shutil.copy(root / ".zarray", named / "objects" / ".zarray")
    assert rd.read_zarr(named).select("zstd").collect().height == 23
    with pytest.raises(FileFormatError, match="objects.*never loaded"):
        rd.read_zarr(named).select("objects").collect()
    meta |= {"dtype": "<i8", "filters": [numcodecs.Pickle().get_config()]}
    (root / ".zarray").write_text(json.dumps(meta))
    with pytest.raises(FileFormatError, match="the codec 'pickle' of objects"):
        rd.read_zarr(root)
    assert not Path("/tmp/robodf-was-unpickled").exists()


def test_errors_say_what_there_is(stores: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no array 'plian'; did you mean 'plain'"):
        rd.read_zarr(stores["version_3.zarr"], array="plian")
    with pytest.raises(NoFilesError, match="no Zarr folder"):
        rd.read_zarr(tmp_path / "nowhere")
    root = zarr.open_group(stores["version_3.zarr"], mode="a")
    root.create_array("short", data=np.arange(4))
    with pytest.raises(FileFormatError, match=r"differ in length.*short \(4\)"):
        rd.read_zarr(stores["version_3.zarr"])


def test_damage_is_told_or_null(stores: dict[str, Path]) -> None:
    root = stores["buffer.zarr"]
    (root / "data" / "action" / "1.0").write_bytes(b"nonsense")
    df = rd.read_zarr(root, on_error="collect")
    rows = df.collect()
    assert rows["action"].null_count() == 24
    assert rows["timestamp"].null_count() == 0
    assert "action/1.0" in df.errors["error"].item()
    with pytest.raises(FileFormatError, match=r"action/1\.0: Blosc"):
        rd.read_zarr(root).collect()
    zarr.open_group(root, mode="a")["meta/episode_ends"][:] = [5, 3, 14, 24]
    with pytest.raises(FileFormatError, match="do not ascend"):
        rd.read_zarr(root).select("step").collect()
    zarr.open_group(root, mode="a")["meta/episode_ends"][:] = [5, 6, 14, 25]
    with pytest.raises(FileFormatError, match="has 24 rows, but meta/episode_ends says that there are 25 steps"):
        rd.read_zarr(root).select("step").collect()


@pytest.mark.parametrize("name", list(FOLDERS))
def test_mutated_folders_are_read_or_refused(tmp_path: Path, name: str) -> None:
    source = random.Random(name)
    files = FOLDERS[name]
    root = write(files, tmp_path / name)
    metadata = [key for key in files if key.rsplit("/", 1)[-1] in (".zarray", ".zgroup", "zarr.json", "0")]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = []
    for _ in range(40):
        key = source.choice(metadata if source.random() < 0.6 else list(files))
        data = bytearray(files[key])
        for _ in range(source.choice([1, 2, 8])):
            at = source.randrange(len(data))
            data[at] = source.choice([48 + source.randrange(10), 255, source.randrange(256), data[at] ^ 1])
        (root / key).write_bytes(data[: source.randrange(len(data))] if source.random() < 0.1 else data)
        try:
            rd.read_zarr(root).collect()
        except RobodfError as error:
            refused.append(str(error))
        (root / key).write_bytes(files[key])
    assert 0 < len(refused) < 40
    assert all(name in error for error in refused)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 << 10
