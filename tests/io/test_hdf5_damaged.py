"""Damaged and odd HDF5 files: an error that names the file, or rows; never a crash, a hang or much memory."""

from __future__ import annotations

import random
import resource
import struct
import time
import zlib
from pathlib import Path

import h5py
import lz4.block
import numpy as np
import pytest
import zstandard
from samples_hdf5 import samples

import robodf as rd
from robodf.errors import FileFormatError, RobodfError
from robodf.io.hdf5.file import Hdf5File
from robodf.io.hdf5.filters import FLETCHER, LZ4, ZSTD, undo
from robodf.io.hdf5.layout import listed
from robodf.io.hdf5.objects import Filter, messages

FILES = samples()


def read_all(path: Path) -> None:
    """All rows of a file as its name says it is read."""
    if not path.name.startswith("tables"):
        rd.read_hdf5(path).collect()
        return
    file = rd.open_hdf5(path)
    for name, problem in file.datasets().select("dataset", "problem").rows():
        if problem is None and name != "empty":
            file[name].collect()


def mutated(data: bytes, source: random.Random) -> bytes:
    if source.random() < 0.1:
        return data[: source.randrange(len(data))]
    changed = bytearray(data)
    for _ in range(source.choice([1, 1, 2, 4, 16])):
        at = source.randrange(len(changed))
        changed[at] = source.choice([0, 255, source.randrange(256), changed[at] ^ 1 << source.randrange(8)])
    return bytes(changed)


@pytest.mark.parametrize("name", list(FILES))
def test_mutated_files_are_read_or_refused(tmp_path: Path, name: str) -> None:
    source = random.Random(name)
    path = tmp_path / name
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused, longest = [], 0.0
    for _ in range(25):
        path.write_bytes(mutated(FILES[name], source))
        start = time.process_time()
        try:
            read_all(path)
        except RobodfError as error:
            refused.append(str(error))
        longest = max(longest, time.process_time() - start)
    assert 0 < len(refused) < 25
    assert all(path.name in error for error in refused)
    assert longest < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 << 10  # KiB


def test_every_truncation_of_a_small_file_is_told_or_lacks_data_only(tmp_path: Path) -> None:
    path = tmp_path / "cut.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(5)
    whole = path.read_bytes()
    for length in range(0, len(whole), 41):
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError, match=r"cut\.h5"):
            rd.read_hdf5(path, dataset="x").collect()


def test_groups_that_hold_themselves_end(tmp_path: Path) -> None:
    path = tmp_path / "ring.h5"
    with h5py.File(path, "w") as file:
        file["a/x"] = [1]
        file["a/b/up"] = file["a"]
    listed_ = rd.open_hdf5(path).datasets()
    assert dict(listed_.select("dataset", "problem").rows()) == {
        "a/x": None,
        "a/b/up": "a group that is listed already",
    }


def test_a_tree_that_leads_to_itself_ends(tmp_path: Path) -> None:
    path = tmp_path / "tree.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.arange(40_000), chunks=(10,), compression="gzip")
    data = bytearray(path.read_bytes())
    places = [k for k in range(len(data)) if data[k : k + 5] == b"TREE\1" and data[k + 5] == 1]
    for at in places:  # its first child becomes itself
        data[at + 48 : at + 56] = struct.pack("<Q", at)
    assert places
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match="no node of a B-tree of chunks"):
        rd.read_hdf5(path).collect()


def test_a_chunk_that_expands_beyond_its_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.h5"
    with h5py.File(path, "w") as file:
        made = file.create_dataset("x", (10,), "u1", chunks=(10,), compression="gzip")
        made.id.write_direct_chunk((0,), zlib.compress(bytes(50 << 20)))
    with pytest.raises(FileFormatError, match="longer than the chunk"):
        rd.read_hdf5(path).collect()


def test_checksums_are_compared(tmp_path: Path) -> None:
    path = tmp_path / "sum.h5"
    for values in (
        np.zeros(20, "u1"),
        np.full(21, 255, "u1"),
        np.arange(30_001, dtype="u2"),
        np.random.default_rng(0).random(5000),
    ):
        with h5py.File(path, "w") as file:
            file.create_dataset("x", data=values, chunks=values.shape, fletcher32=True)
        assert np.array_equal(rd.read_hdf5(path).collect()["x"].to_numpy(), values)
        with h5py.File(path) as file:
            offset = file["x"].id.get_chunk_info(0).byte_offset
        data = bytearray(path.read_bytes())
        data[offset] ^= 5
        path.write_bytes(data)
        with pytest.raises(FileFormatError, match="checksum"):
            rd.read_hdf5(path).collect()


def test_filters_of_plugins() -> None:
    data = np.arange(1000).tobytes()
    assert undo(zstandard.compress(data), (Filter(ZSTD, "", False, ()),), 0, 8000, 8) == data
    blocks = [lz4.block.compress(data[k : k + 3000], store_size=False) for k in range(0, 8000, 3000)]
    packed = struct.pack(">QI", 8000, 3000) + b"".join(struct.pack(">I", len(b)) + b for b in blocks)
    assert undo(packed, (Filter(LZ4, "", False, ()),), 0, 8000, 8) == data
    for broken in (packed[:-1], packed[:20], struct.pack(">QI", 1 << 60, 3000) + packed[12:]):
        with pytest.raises(ValueError, match="LZ4"):
            undo(broken, (Filter(LZ4, "", False, ()),), 0, 8000, 8)
    assert undo(data, (Filter(FLETCHER, "", False, ()),), 1, 8000, 8) == data  # a filter that was not applied


def test_attributes_and_groups_of_thousands(tmp_path: Path) -> None:
    path = tmp_path / "many.h5"
    with h5py.File(path, "w", libver="latest") as file:
        for k in range(2500):
            file.create_group(f"data/demo_{k}")
            file["data"].attrs[f"a{k}"] = k
    with Hdf5File(str(path)) as file:
        found = listed(file)
        assert found is not None
        assert found[0] == [f"demo_{k}" for k in range(2500)]
    assert rd.open_hdf5(path).attributes("data") == {f"a{k}": k for k in range(2500)}


def test_headers_in_many_blocks(tmp_path: Path) -> None:
    path = tmp_path / "blocks.h5"
    with h5py.File(path, "w", libver=("earliest", "v108")) as file:
        file["x"] = [1, 2]
        for k in range(7):
            file["x"].attrs[f"a{k}"] = "text " * 50 * (k + 1)
    with Hdf5File(str(path)) as file:
        assert len(messages(file, file.root)) >= 1
    assert set(rd.open_hdf5(path).attributes("x")) == {f"a{k}" for k in range(7)}
    assert rd.read_hdf5(path).collect()["x"].to_list() == [1, 2]
