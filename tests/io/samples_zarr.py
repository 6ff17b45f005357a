"""Small Zarr folders of every kind that robodf reads, as the files in them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numcodecs
import numpy as np
import zarr


def buffer(path: Path) -> None:
    """A replay buffer as UMI and diffusion policy write it."""
    random = np.random.default_rng(4)
    root = zarr.open_group(path, mode="w", zarr_format=2)
    blosc = numcodecs.Blosc("zstd", 5, numcodecs.Blosc.BITSHUFFLE)
    arrays = {
        "data/action": (random.random((24, 7), "f4"), (10, 7)),
        "data/camera0_rgb": (random.integers(0, 255, (24, 16, 20, 3), np.uint8), (1, 16, 20, 3)),
        "data/timestamp": (np.arange(24) / 10, (24,)),
        "meta/episode_ends": (np.array([5, 5, 14, 24]), (4,)),
        "meta/quality": (np.array([1, 0, 3, 2], "i2"), (4,)),
    }
    for name, (values, chunks) in arrays.items():
        root.create_array(name, data=values, chunks=chunks, compressors=None if name.startswith("meta") else blosc)


def version_2(path: Path) -> None:
    """Arrays of equal length with each compressor."""
    root = zarr.open_group(path, mode="w", zarr_format=2)
    values = np.random.default_rng(5).random((23, 11))
    codecs = {
        "lz4": numcodecs.LZ4(), "zlib": numcodecs.Zlib(), "gzip": numcodecs.GZip(), "bz2": numcodecs.BZ2(),
        "lzma": numcodecs.LZMA(), "zstd": numcodecs.Zstd(), "blosc": numcodecs.Blosc("lz4"),
    }  # fmt: skip
    for name, codec in codecs.items():
        root.create_array(name, data=values, chunks=(4, 3), compressors=codec)
    root.create_array("shuffled", data=values, chunks=(4, 3), filters=[numcodecs.Shuffle(8)], order="F")
    root.create_array("big", data=np.arange(23, dtype=">i4"), chunks=(5,), compressors=None)
    root.create_array("texts", data=np.array(["é", "ab", "c"] * 7 + ["d", ""], "<U3"), chunks=(4,))
    root.create_array("unwritten", shape=(23, 2), chunks=(5, 2), dtype="f4", fill_value=2.5)


def version_3(path: Path) -> None:
    """Arrays of equal length, with shards, checksums and other orders of axes."""
    root = zarr.open_group(path, mode="w", zarr_format=3)
    values = np.random.default_rng(6).random((23, 11))
    root.create_array("plain", data=values, chunks=(4, 3))
    root.create_array("sharded", data=values, chunks=(2, 11), shards=(8, 11))
    checked = [zarr.codecs.GzipCodec(), zarr.codecs.Crc32cCodec()]
    turned = [zarr.codecs.TransposeCodec(order=(1, 0))]
    root.create_array("turned", data=values.astype("f4"), chunks=(5, 4), filters=turned, compressors=checked)
    root.create_array("flags", data=np.arange(23) % 3 == 0, chunks=(7,))
    root.create_array("blosc", data=values, chunks=(6, 11), compressors=zarr.codecs.BloscCodec())


def folders() -> dict[str, dict[str, bytes]]:
    """The files of each folder, by their path in it."""
    found: dict[str, dict[str, bytes]] = {}
    with tempfile.TemporaryDirectory() as place:
        for make in (buffer, version_2, version_3):
            root = Path(place, f"{make.__name__}.zarr")
            make(root)
            files = [p for p in sorted(root.rglob("*")) if p.is_file()]
            found[root.name] = {str(p.relative_to(root)): p.read_bytes() for p in files}
    return found


def write(files: dict[str, bytes], root: Path) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root
