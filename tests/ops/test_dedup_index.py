"""Indexes of data sets that are there already: `WithKeys`, its file, and what refuses it."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

import robodf as rd
from robodf.errors import FileFormatError, NoFilesError, OptionError

OLD = {"t": ["pick up the red block", "open the drawer", None, "", "wipe the table"], "e": ["a", "a", "a", "b", "b"]}
NEW = {"t": ["Pick up the red block!", "close the drawer", "wipe the table", None, ""], "e": ["a", "a", "a", "b", "b"]}

WAYS = {
    "exact": {"method": "exact"},
    "nulls": {"method": "exact", "nulls": "equal"},
    "fuzzy": {"method": "fuzzy", "threshold": 0.7},
    "words": {"method": "fuzzy", "shingle": rd.words(2), "normalize": None},
    "within": {"method": "fuzzy", "within": "e"},
}


@pytest.fixture
def old() -> rd.PipelineDataFrame:
    return rd.from_dict(OLD)


@pytest.fixture
def new() -> rd.PipelineDataFrame:
    return rd.from_dict(NEW)


@pytest.mark.parametrize("way", WAYS)
def test_an_index_answers_as_its_frame_does(old, new, way, tmp_path) -> None:
    options = WAYS[way]
    expected = new.clusters("t", against=old, **options).collect()
    index = rd.DedupIndex.build(old, "t", **options)
    assert new.clusters("t", against=index, **options).collect().equals(expected)
    report = index.save(tmp_path / "old.parquet")
    assert report.rows == 5
    loaded = rd.DedupIndex.load(tmp_path / "old.parquet")
    assert len(loaded) == 5
    assert new.clusters("t", against=loaded, **options).collect().equals(expected)
    kept = new.dedup("t", against=loaded, **options).collect()
    assert kept.equals(expected.filter("is_kept").select("t", "e"))
    assert kept.height < len(NEW["t"])
    with_more = loaded.extend(rd.from_polars(kept))
    with_more.save(tmp_path / "old.parquet", mode="overwrite")  # it is read from the same file
    again = new.dedup("t", against=rd.DedupIndex.load(tmp_path / "old.parquet"), **options).collect()
    lone = [] if options.get("nulls") == "equal" else [None, ""]
    assert again["t"].to_list() == lone


def test_vectors_images_and_trajectories(tmp_path) -> None:
    draw = np.random.Generator(np.random.PCG64(5))
    vectors = draw.normal(size=(6, 16)).tolist()
    walks = np.cumsum(draw.normal(size=(6, 60, 3)), axis=1).tolist()
    frame = rd.from_polars(pl.DataFrame({"v": vectors, "w": walks}))
    for on, method in (("v", "semantic"), ("w", "trajectory")):
        path = tmp_path / f"{on}.parquet"
        rd.DedupIndex.build(frame.head(4), on, method=method).save(path)
        left = frame.dedup(on, method=method, against=rd.DedupIndex.load(path)).collect()
        assert left.equals(frame.dedup(on, method=method, against=frame.head(4)).collect())
        assert left.height == 2


def test_of_several_columns_and_of_an_expression(old, new, tmp_path) -> None:
    path = tmp_path / "x.parquet"
    rd.DedupIndex.build(old, ["t", "e"]).save(path)
    assert new.dedup(["t", "e"], against=rd.DedupIndex.load(path)).collect().height == 4  # "" of "b" is there
    lower = rd.col("t").str.to_lowercase().str.strip_chars("!")
    index = rd.DedupIndex.build(old, lower)
    assert new.dedup(lower, against=index).collect()["t"].to_list() == ["close the drawer", None, ""]
    with pytest.raises(OptionError, match="say what is compared with on="):
        index.extend(new)
    assert len(index.extend(new, on=lower)) == 10


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"method": "fuzzy", "threshold": 0.8}, "threshold=0.7.*threshold=0.8"),
        ({"method": "fuzzy", "threshold": 0.7, "recall": 0.9}, "recall"),
        ({"method": "fuzzy", "threshold": 0.7, "shingle": rd.words(5)}, "Chars.*Words"),
        ({"method": "fuzzy", "threshold": 0.7, "normalize": None}, "normalize"),
        ({"method": "fuzzy", "threshold": 0.7, "within": "e"}, "all rows"),
        ({"method": "exact"}, "Fuzzy.*Exact"),
    ],
)
def test_another_way_to_compare_is_refused(old, new, other, said) -> None:
    index = rd.DedupIndex.build(old, "t", method="fuzzy", threshold=0.7)
    with pytest.raises(OptionError, match=said):
        new.dedup("t", against=index, **other)


def test_another_type_is_refused(old) -> None:
    index = rd.DedupIndex.build(rd.from_dict({"t": [1, 2]}), "t")
    with pytest.raises(OptionError, match="Int64"):
        old.dedup("t", against=index)


def test_files_that_are_no_index(old, tmp_path) -> None:
    with pytest.raises(OptionError, match=r"end in \.parquet"):
        rd.DedupIndex.build(old, "t").save(tmp_path / "index")
    with pytest.raises(NoFilesError):
        rd.DedupIndex.load(tmp_path / "nowhere.parquet")
    old.to_parquet(tmp_path / "plain.parquet")
    with pytest.raises(FileFormatError, match="no index of robodf"):
        rd.DedupIndex.load(tmp_path / "plain.parquet")
    (tmp_path / "text.parquet").write_text("not Parquet at all")
    with pytest.raises(FileFormatError, match="not an index"):
        rd.DedupIndex.load(tmp_path / "text.parquet")
    path = tmp_path / "index.parquet"
    rd.DedupIndex.build(old, "t").save(path)
    with pytest.raises(FileExistsError):
        rd.DedupIndex.build(old, "t").save(path)
    rows = pl.read_parquet(path)
    settings = json.loads(pl.read_parquet_metadata(path)["robodf.dedup_index"])
    for change, said in (
        ({"format": 99}, "format 99"),
        ({"within": None}, "not complete"),
        ({"columns": {}}, "columns"),
    ):
        rows.write_parquet(path, metadata={"robodf.dedup_index": json.dumps(settings | change)})
        with pytest.raises(FileFormatError, match=said):
            rd.DedupIndex.load(path)
    rows.write_parquet(path, metadata={"robodf.dedup_index": "{"})
    with pytest.raises(FileFormatError, match="cannot be read"):
        rd.DedupIndex.load(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileFormatError):
        rd.DedupIndex.load(path)


@pytest.mark.parametrize("nulls", ["keep", "equal"])
def test_hashes_of_another_polars_are_made_anew(old, nulls, tmp_path) -> None:
    """What is kept of exact values are Polars' own hashes, which change with its version."""
    path = tmp_path / "index.parquet"
    new = rd.from_dict({"t": ["open the drawer", "wipe the table", None, ""], "e": ["a", "a", "a", "b"]})
    asked = {"on": "t", "within": "e", "nulls": nulls}
    expected = new.clusters(against=old, **asked).collect()
    assert not expected["is_kept"].all()
    rd.DedupIndex.build(old, **asked).save(path)
    rows, mark = pl.read_parquet(path), pl.read_parquet_metadata(path)["robodf.dedup_index"]
    other = rows.with_columns(pl.col(pl.UInt64) + 1)
    assert not other.equals(rows)
    other.write_parquet(path, metadata={"robodf.dedup_index": mark.replace(pl.__version__, "0.0.1")})
    index = rd.DedupIndex.load(path)
    assert new.clusters(against=index, **asked).collect().equals(expected)
    index.extend(new).save(path, mode="overwrite")
    assert pl.read_parquet(path).head(rows.height).equals(rows)
    assert new.dedup(against=rd.DedupIndex.load(path), **asked).collect()["t"].is_in([None, ""]).all()


def test_keys_that_are_not_there(old, new, tmp_path) -> None:
    path = tmp_path / "index.parquet"
    rd.DedupIndex.build(old, "t", method="fuzzy").save(path)
    rows, settings = pl.read_parquet(path), json.loads(pl.read_parquet_metadata(path)["robodf.dedup_index"])
    for some, said in (
        (rows.drop("__robodf_band_3"), "no keys for Fuzzy"),
        (rows.with_columns(__robodf_band_3=pl.lit(None, pl.UInt64)), "keys are null"),
        (rows.with_columns(__robodf_there=pl.lit(None, pl.Boolean)), "keys are null"),
    ):
        settings["columns"] = {name: str(dtype) for name, dtype in some.schema.items()}
        some.write_parquet(path, metadata={"robodf.dedup_index": json.dumps(settings)})
        with pytest.raises(FileFormatError, match=said):
            new.dedup("t", method="fuzzy", against=rd.DedupIndex.load(path)).collect(engine="local")
