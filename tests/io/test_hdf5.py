"""HDF5 files as rows: values equal those of h5py, and only what a query needs is read."""

from __future__ import annotations

import pickle
from pathlib import Path

import fsspec
import h5py
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from samples_hdf5 import demos, made, samples

import robodf as rd
from robodf.errors import FileFormatError, OptionError
from robodf.images.layout import to_arrays
from robodf.io.counting import read as counter
from robodf.io.hdf5 import _source
from robodf.io.source import LOCATOR, Request

FILES = samples()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def natural(names: object) -> list[str]:
    return sorted(names, key=lambda name: int(name.rsplit("_", 1)[1]))  # type: ignore[call-overload]


def check_episode(group: h5py.Group, rows: pl.DataFrame) -> int:
    """Every dataset of an episode equals its column; how many there were."""
    checked = 0

    def check(name: str, found: object) -> None:
        nonlocal checked
        if not isinstance(found, h5py.Dataset) or name == "compress_len":
            return
        values, column = found[()], rows[name.replace("/", "_")]
        if isinstance(column.dtype, pl.Struct):
            assert all(np.array_equal(a, b) for a, b in zip(to_arrays(column), values, strict=True))
        elif column.dtype == pl.Binary:
            assert column.to_list() == [row.tobytes().rstrip(b"\0") for row in values]
        elif values.ndim == 0 or values.shape[0] == 1:
            assert np.array_equal(
                column.to_numpy(), np.broadcast_to(values[-1:] if values.ndim else values, column.to_numpy().shape)
            )
        else:
            assert np.array_equal(column.to_numpy(), values)
        checked += 1

    group.visititems(check)
    return checked


def check_file(path: Path) -> int:
    rows = rd.read_hdf5(path).collect()
    checked = 0
    with h5py.File(path) as file:
        if "data" not in file:
            assert rows["episode"].unique().to_list() == [path.stem]
            return check_episode(file, rows)
        names = natural(file["data"])
        assert rows["episode"].unique(maintain_order=True).to_list() == names
        for name in names:
            some = rows.filter(pl.col("episode") == name)
            assert some["step"].to_list() == list(range(len(file["data"][name]["actions"])))
            assert some["episode_index"].unique().to_list() == [int(name.rsplit("_", 1)[1])]
            for key, value in file["data"][name].attrs.items():
                assert some[f"episode_{key}"].unique().to_list() == [value], key
            for key in file.get("mask", {}):
                assert some[f"mask_{key}"].unique().to_list() == [name.encode() in file["mask"][key][:]]
            checked += check_episode(file["data"][name], some)
    return checked


@pytest.mark.parametrize("name", [n for n in FILES if not n.startswith("tables")])
def test_steps_of_episodes_equal_what_h5py_reads(folder: Path, name: str) -> None:
    assert check_file(folder / name) >= 4


def test_real_recordings_equal_what_h5py_reads(real_data: Path) -> None:
    files = [*real_data.glob("hdf5/*.hdf5"), *real_data.glob("generated/*.hdf5")]
    assert sum(map(check_file, files)) > 1000
    stale = rd.read_hdf5(real_data / "hdf5" / "isaaclab_snake_dataset.hdf5")
    assert stale.count_rows() == 2163  # its attribute `total` says 3901


def plain(value: object) -> object:
    """A value of NumPy as Polars gives it."""
    if isinstance(value, np.ndarray):
        return [plain(v) for v in value]
    if isinstance(value, np.void):
        return {name: plain(value[name]) for name in value.dtype.names or ()}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, complex):
        return {"r": value.real, "i": value.imag}
    return value.decode() if isinstance(value, bytes) else value


def check_datasets(path: Path) -> int:
    checked = 0
    file = rd.open_hdf5(path)
    with h5py.File(path) as other:
        for name in file.datasets().filter(pl.col("problem").is_null())["dataset"]:
            found = other[name]
            if found.shape is None:
                with pytest.raises(FileFormatError, match="no elements"):
                    _ = file[name]
                continue
            expected = found[()] if found.shape else found[()][None]
            rows = file[name].collect()
            assert rows["row"].to_list() == list(range(len(expected)))
            values = rows.drop("path", "row")
            columns = expected.dtype.names or (("r", "i") if expected.dtype.kind == "c" else None)
            if name == "blobs":
                assert values[name].to_list() == [v.tobytes() for v in expected]
            elif columns:
                assert values.to_dicts() == [plain(v) for v in expected]
            else:
                assert values.to_series().to_list() == [plain(v) for v in expected], name
            checked += 1
    return checked


@pytest.mark.parametrize("name", ["tables.h5", "tables_latest.h5"])
def test_datasets_of_all_types_equal_what_h5py_reads(folder: Path, name: str) -> None:
    assert check_datasets(folder / name) == 13


def test_real_datasets_equal_what_h5py_reads(real_data: Path) -> None:
    assert sum(map(check_datasets, real_data.glob("hdf5/*.h5"))) == 13


def test_a_list_of_datasets_and_attributes(folder: Path) -> None:
    file = rd.open_hdf5(folder / "tables.h5")
    grid = file.datasets().filter(pl.col("dataset") == "grid").row(0, named=True)
    assert (grid["shape"], grid["chunk"], grid["filters"], grid["bytes"]) == (
        [23, 11],
        [4, 3],
        ["shuffle", "gzip"],
        2024,
    )
    assert file.attributes("records") == {"rate": 50.0, "names": ["a", "b"]}
    assert file.episodes is None
    listed = rd.read_hdf5([folder / "tables.h5", folder / "aloha.hdf5"], layout="datasets").collect()
    assert listed.filter(pl.col("dataset") == "action")["shape"].to_list() == [[6, 14]]
    episodes = rd.open_hdf5(folder / "demos_20.hdf5").episodes
    assert episodes is not None
    assert episodes.row(10) == ("demo_10", 7)


def test_a_file_with_one_dataset_needs_no_name(tmp_path: Path) -> None:
    path = tmp_path / "one.h5"
    with h5py.File(path, "w") as file:
        file["a/values"] = [1.5, 2.5]
    assert rd.read(path).collect()["values"].to_list() == [1.5, 2.5]


# -- what is read ---------------------------------------------------------------------------------------------


def chunks_of(query: rd.PipelineDataFrame) -> tuple[pl.DataFrame, int, int]:
    chunks, size = counter.chunks, counter.bytes
    found = query.collect()
    return found, counter.chunks - chunks, counter.bytes - size


@pytest.fixture
def sliced(tmp_path: Path) -> Path:
    """Two demos of 100 steps, in chunks of 10 steps, and images in chunks that are parts of a row."""
    path = tmp_path / "sliced.hdf5"
    random = np.random.default_rng(3)
    with h5py.File(path, "w") as file:
        for k in range(2):
            demo = file.create_group(f"data/demo_{k}")
            demo.attrs["success"] = k == 1
            demo.create_dataset("actions", data=random.random((100, 4)), chunks=(10, 4), compression="gzip")
            images = random.integers(0, 255, (100, 20, 20, 3), np.uint8)
            demo.create_dataset("obs/image", data=images, chunks=(5, 10, 20, 3))
    return path


def test_a_slice_reads_the_chunks_that_hold_it_each_once(sliced: Path) -> None:
    df = rd.read_hdf5(sliced)
    part = df.filter((rd.col("episode") == "demo_1") & rd.col("step").is_between(15, 34))
    found, chunks, _ = chunks_of(part.select("step", "actions"))
    assert chunks == 3  # steps 10 to 39
    with h5py.File(sliced) as file:
        assert np.array_equal(found["actions"].to_numpy(), file["data/demo_1/actions"][15:35])
    found, chunks, _ = chunks_of(part.filter(rd.col("step").is_in([15, 33])).select("obs_image"))
    assert chunks == 4  # of two chunks in a row
    assert "2 of 200 rows" in str(part.filter(rd.col("step").is_in([15, 33])).select("actions").explain("physical"))
    _, chunks, _ = chunks_of(df.filter(rd.col("episode_success")).select("actions"))
    assert chunks == 10
    _, chunks, _ = chunks_of(df.select("actions").head(3))
    assert chunks == 1


def test_batches_that_end_in_a_chunk_do_not_read_it_again(sliced: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, chunks, _ = chunks_of(rd.read_hdf5(sliced).select("actions", "obs_image"))
    assert chunks == 20 + 80
    monkeypatch.setattr("robodf.io.hdf5.episodes.BATCH_ROWS", 7)
    pieces, chunks, _ = chunks_of(rd.read_hdf5(sliced).select("actions", "obs_image"))
    assert chunks == 20 + 80
    assert_frame_equal(pieces, whole)


def test_light_columns_and_counts_read_no_data(sliced: Path) -> None:
    df = rd.read_hdf5(sliced)
    found, chunks, _ = chunks_of(df.select("episode", "step", "episode_success"))
    assert (found.height, chunks) == (200, 0)
    assert df.filter(rd.col("episode_success") & (rd.col("step") < 7)).count_rows() == 7


def test_contiguous_rows_are_read_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "long.hdf5"
    values = np.arange(400_000.0).reshape(100_000, 4)
    with h5py.File(path, "w") as file:
        file["data/demo_0/actions"] = values
    df = rd.read_hdf5(path)
    rows = [5, 6, 7, 60, 50_000, 50_001, 99_999]
    found, _, size = chunks_of(df.filter(rd.col("step").is_in(rows)).select("actions"))
    assert np.array_equal(found["actions"].to_numpy(), values[rows])
    assert size < 80_000  # of 3.2 MB


def test_rows_are_found_again_by_their_locators_also_elsewhere(folder: Path) -> None:
    files = [str(folder / name) for name in ("demos.hdf5", "demos_20.hdf5", "demos_latest.hdf5")]
    source = _source(files, None, None, None, "raise", None)
    whole = source.scan(Request(tuple(source.schema), locator=True)).collect()
    some = whole[[3, 40, 41, 90, whole.height - 1]]
    locators = some[LOCATOR].to_numpy()
    again = pickle.loads(pickle.dumps(source))
    fetched = pl.concat(again.fetch(locators, ("obs_eef_pos", "obs_agentview")))
    assert_frame_equal(fetched, some.select("obs_eef_pos", "obs_agentview"))
    splits = list(source.splits(Request(("actions",))))
    part = pickle.loads(pickle.dumps(source.part((splits[2], splits[0]))))
    paths = part.scan(Request(("path",))).collect()["path"].unique(maintain_order=True).to_list()
    assert paths == [files[2], files[0]]


def test_remote_files_are_read_in_few_pieces(folder: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/robodf/demos.hdf5", (folder / "demos_20.hdf5").read_bytes())
    memory.pipe("/robodf/demos_gzip.hdf5", (folder / "demos_gzip.hdf5").read_bytes())
    try:
        for name, local in (("demos.hdf5", "demos_20.hdf5"), ("demos_gzip.hdf5", "demos_gzip.hdf5")):
            remote, chunks, size = chunks_of(rd.read_hdf5(f"memory://robodf/{name}").drop("path"))
            here = rd.read_hdf5(folder / local).drop("path").collect()
            assert_frame_equal(remote, here)
            assert size < 8 * len(FILES[local])  # it is opened for each step of a query
    finally:
        memory.rm("/robodf", recursive=True)


# -- episodes that differ -------------------------------------------------------------------------------------


def test_masks_choose_episodes(folder: Path) -> None:
    path = folder / "demos_20.hdf5"
    train = rd.read_hdf5(path, mask="train").collect()
    assert train["episode_index"].unique(maintain_order=True).to_list() == list(range(0, 20, 2))
    assert_frame_equal(train, rd.read_hdf5(path).filter(rd.col("mask_train")).collect())
    with pytest.raises(OptionError, match="no mask 'trian'; did you mean 'train'"):
        rd.read_hdf5(path, mask="trian")


def test_what_an_episode_lacks_is_null_and_numbers_are_widened(tmp_path: Path) -> None:
    path = tmp_path / "differ.hdf5"
    with h5py.File(path, "w") as file:
        file["data/demo_0/actions"] = np.ones((2, 3), "f4")
        file["data/demo_0/only_first"] = np.arange(2)
        file["data/demo_1/actions"] = np.ones((3, 3), "f8") / 3
        file["data/demo_1/obs/late"] = np.arange(3, dtype="u1")
        file["data/demo_1"].attrs["seed"] = 4
    rows = rd.read_hdf5(path).collect()
    assert rows.schema["actions"] == pl.Array(pl.Float64, 3)
    assert rows["actions"].to_list()[4] == [1 / 3] * 3
    assert rows["only_first"].to_list() == [0, 1, None, None, None]
    assert rows["obs_late"].to_list() == [None, None, 0, 1, 2]
    assert rows["episode_seed"].to_list() == [None, None, 4, 4, 4]


def test_names_that_would_meet_keep_their_path(tmp_path: Path) -> None:
    path = tmp_path / "names.hdf5"
    with h5py.File(path, "w") as file:
        file["actions"] = np.arange(2)
        file["obs/a_b"] = [1, 2]
        file["obs_a/b"] = [3, 4]
        file["step"] = [5, 6]
    rows = rd.read_hdf5(path).collect()
    assert rows.columns == ["path", "episode", "episode_index", "step", "actions", "/obs/a_b", "/obs_a/b", "/step"]
    assert rows["/step"].to_list() == [5, 6]


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """Forty demos that are alike; one has a dataset of another length, one has a type that is not like the others."""
    path = tmp_path / "short.hdf5"
    with h5py.File(path, "w") as file:
        for k in range(40):
            file[f"data/demo_{k}/actions"] = np.full((4, 2), k, "f4")
            file[f"data/demo_{k}/obs/x"] = np.full(3 if k == 5 else 4, k, "f4" if k != 7 else "S3")
    return path


def test_a_dataset_of_another_length_is_told_where_it_is_read(short: Path) -> None:
    df = rd.read_hdf5(short)
    assert df.select("actions").collect().height == 160
    with pytest.raises(FileFormatError, match=r"'obs/x' of this episode has 3 rows, but the episode has 4 .*demo_5"):
        df.filter(rd.col("episode_index") < 7).collect()


def test_on_error_collect_gives_nulls_and_tells(tmp_path: Path, short: Path) -> None:
    df = rd.read_hdf5(short, on_error="collect")
    rows = df.collect()
    assert rows["obs_x"].to_list() == [k if k not in (5, 7) else None for k in range(40) for _ in range(4)]
    assert df.errors["topic"].to_list() == ["demo_5", "demo_7"]
    (tmp_path / "none.hdf5").write_bytes(b"nothing at all")
    df = rd.read_hdf5([short, tmp_path / "none.hdf5"], on_error="collect")
    assert df.select("actions").collect().height == 160
    assert df.errors["file"].unique().to_list() == [str(tmp_path / "none.hdf5")]


def test_types_that_no_column_holds_are_told_when_the_frame_is_made(short: Path) -> None:
    with h5py.File(short, "a") as file:
        del file["data/demo_39/obs/x"]
        file["data/demo_39/obs/x"] = np.array([b"a"] * 4)
    with pytest.raises(FileFormatError, match="'obs/x' is Float32 in .*demo_0 and String in .*demo_39"):
        rd.read_hdf5(short)


# -- what is refused ------------------------------------------------------------------------------------------


def test_no_other_file_is_opened(tmp_path: Path) -> None:
    secret, path = tmp_path / "secret.h5", tmp_path / "demo.hdf5"
    with h5py.File(secret, "w") as file:
        file["values"] = np.arange(4.0)
    (tmp_path / "raw.bin").write_bytes(bytes(32))
    with h5py.File(path, "w") as file:
        file["action"] = np.arange(4)
        file["observations/elsewhere"] = h5py.ExternalLink("secret.h5", "values")
        file["observations/other_name"] = h5py.SoftLink("/action")
        file.create_dataset("observations/raw", (4,), "f8", external=[(str(tmp_path / "raw.bin"), 0, 32)])
        layout = h5py.VirtualLayout((4,), "f8")
        layout[:] = h5py.VirtualSource(str(secret), "values", (4,))
        file.create_virtual_dataset("observations/virtual", layout)
    df = rd.read_hdf5(path)
    assert df.select("action").collect()["action"].to_list() == [0, 1, 2, 3]
    for name in ("raw", "virtual"):
        with pytest.raises(FileFormatError, match="other files, which robodf does not open"):
            df.select(f"observations_{name}").collect()
    listed = rd.open_hdf5(path).datasets("observations").select("dataset", "problem")
    assert dict(listed.rows())["elsewhere"] == "another file: secret.h5, values"
    assert "observations_elsewhere" not in df.columns


def test_sql_reads_files_by_their_format(sliced: Path) -> None:
    found = rd.sql(f"SELECT step, actions FROM read_hdf5('{sliced}') WHERE episode_success AND step < 2").collect()
    assert found["step"].to_list() == [0, 1]
    found = rd.sql(f"SELECT row FROM read_hdf5('{sliced}', dataset = 'data/demo_0/actions') WHERE row > 97").collect()
    assert found["row"].to_list() == [98, 99]


def test_errors_say_what_there_is(folder: Path) -> None:
    with pytest.raises(FileFormatError, match=r"no episodes: .* Pass dataset=, one of: .*grid"):
        rd.read_hdf5(folder / "tables.h5")
    with pytest.raises(FileFormatError, match="'gird' is not there; did you mean 'grid'"):
        rd.read_hdf5(folder / "tables.h5", dataset="gird")
    with pytest.raises(FileFormatError, match="'data/demo_0/obs' is a group"):
        rd.read_hdf5(folder / "demos.hdf5", dataset="data/demo_0/obs")
    with pytest.raises(OptionError, match="layout='demos'"):
        rd.read_hdf5(folder / "demos.hdf5", layout="demos")  # type: ignore[arg-type]
    (folder / "text.h5").write_text("not HDF5 at all, but long enough to look into" * 3)
    with pytest.raises(FileFormatError, match="not an HDF5 file"):
        rd.open_hdf5(folder / "text.h5")


def test_a_filter_that_is_not_read_says_so(tmp_path: Path) -> None:
    path = tmp_path / "so.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.arange(100), chunks=(10,), scaleoffset=0)
    with pytest.raises(FileFormatError, match=r"scaleoffset \(filter 6\), which is not read: h5repack"):
        rd.read_hdf5(path).collect()


def test_rows_that_a_file_cannot_hold_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "huge.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (1 << 40,), "f8", chunks=(1000,), compression="gzip")
    with pytest.raises(FileFormatError, match="a dataset says that it has 1099511627776 rows"):
        rd.read_hdf5(path).collect()


def test_a_file_may_begin_with_something_else(tmp_path: Path) -> None:
    path = tmp_path / "block.h5"
    with h5py.File(path, "w", userblock_size=1024) as file:
        demos(file)
    assert_frame_equal(
        rd.read_hdf5(path).drop("path").collect(), rd.read_hdf5(write(tmp_path, made(demos))).drop("path").collect()
    )


def write(folder: Path, data: bytes) -> Path:
    (folder / "plain.hdf5").write_bytes(data)
    return folder / "plain.hdf5"
