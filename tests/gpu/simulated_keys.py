"""Keys of texts by the kernels of a GPU, against those of the processor, bit for bit. Run by test_kernels_simulated."""

from __future__ import annotations

import random
import warnings

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from numba.core import config

from robodf.dedup import minhash, strings
from robodf.dedup.method import Keys
from robodf.dedup.packing import packed
from robodf.dedup.reading import Readable
from robodf.dedup.shingles import Chars, Tables, Words, tables
from robodf.gpu.kernels import KernelWarning, texts
from robodf.gpu.kernels import minhash as kernel

BANDS, ROWS = 3, 5
FREE = 1 << 30
WAYS = [(shingle, normalize) for shingle in (Words(1), Words(5), Chars(3), Chars(64)) for normalize in ("text", None)]
ways = pytest.mark.parametrize(("shingle", "normalize"), WAYS, ids=[f"{s.label}-{n}" for s, n in WAYS])


def test_this_is_the_simulator() -> None:
    assert config.ENABLE_CUDASIM


def same(texts_: Readable, tables_: Tables, free: int = FREE, bands: int = BANDS, rows: int = ROWS) -> Keys:
    expected = minhash.keys(texts_, tables_, bands, rows)
    found = texts.keys(texts_, tables_, bands, rows, free)
    assert np.array_equal(found.bands, expected.bands)
    assert np.array_equal(found.there, expected.there)
    assert np.array_equal(found.same, expected.same)
    return found


def some_texts(seed: int) -> list[str | None]:
    draw = random.Random(seed)
    letters = ["abcXYZ019_", " .,!\t\n-", "äßÉŁя", "日本語", "\u00a0\u2003«»", "🤖👍"]

    def one() -> str:
        alphabet = "".join(draw.choices(letters, [6, 3, 1, 1, 1, 1], k=draw.randint(1, 4)))
        return "".join(draw.choices(alphabet, k=draw.choice([0, 1, 5, 12, 13, 40, 90])))

    return [None if draw.random() < 0.1 else one() for _ in range(40)]


@ways
def test_random_texts(shingle: Words | Chars, normalize: str | None) -> None:
    seed = WAYS.index((shingle, normalize))
    same(Readable(pl.Series(some_texts(seed), dtype=pl.String), normalize is not None), tables(shingle, normalize))


EDGES = ["", " ", None, "a", "word", "a b c d e", " lead and trail ", ". , ;", "x" * 15, "x" * 16, "x" * 17, "x" * 32,
         "x" * 33 + " y", "İSTANBUL ẞ", "one\ttwo\nthree"]  # fmt: skip


@ways
def test_texts_at_the_edges(shingle: Words | Chars, normalize: str | None) -> None:
    found = same(Readable(pl.Series(EDGES, dtype=pl.String), normalize is not None), tables(shingle, normalize))
    assert not found.there[[0, 2]].any()
    assert found.there[3]


@pytest.mark.parametrize("normalize", ["text", None])
def test_words_longer_than_a_window(normalize: str | None) -> None:
    rows = [
        *("w" * n + " b c d e f" for n in (2032, 2047, 2048, 2049, 4100)),
        *("é" * n + " b c d e f" for n in (1020, 1022, 1023, 1024, 1025, 2050)),
        *(" " * k + "日" * 1400 + "." + "ü" for k in range(3)),
        "ab " * 30 + "x" * 2100 + " Ä" * 20,
    ]
    same(Readable(pl.Series(rows), normalize is not None), tables(Words(2), normalize))


@pytest.mark.parametrize("shingle", [Words(3), Chars(4)], ids=["words", "chars"])
def test_bytes_that_are_no_utf_8(shingle: Words | Chars) -> None:
    draw = random.Random(3)
    bad = [b"\xff\xfe ok", b"caf\xc3", b"\xe6\x97", b"\xf0\x9f\xa4", b"\x80\x80 a \xbf", b"\xf4\xff\xff\xff x"]
    # Where a window begins, inside of a long word, is how the bytes after it are read.
    bad += [bytes(draw.choices([0x41, 0x80, 0x9F, 0xC3, 0xE6, 0xF0, 0xFF], k=n)) for n in (30, 2100, 2 * 2100)][
        : 3 if shingle.whole_words else 1
    ]
    offsets = np.cumsum([0, *map(len, bad)]).astype(np.int32)
    column = pa.StringArray.from_buffers(len(bad), pa.py_buffer(offsets.tobytes()), pa.py_buffer(b"".join(bad)))
    found = strings.texts(column)
    given = object.__new__(Readable)
    given.at, given.size, given.owners = found.at, found.size, found.owners
    given.plain = np.zeros(len(bad), np.bool_)
    same(given, tables(shingle, "text"))


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_layouts_of_columns(kind: pa.DataType) -> None:
    rows = pa.array(["short", None, "longer than twelve bytes", "", "Ünï " * 9] * 4, kind)
    both = pa.chunked_array([rows.slice(3, 9), rows])
    made = pl.from_arrow(both)
    assert isinstance(made, pl.Series)
    same(Readable(made, True), tables(Words(2), "text"))


def test_orders_that_do_not_fill_warps() -> None:
    given = Readable(pl.Series(["a few words of a text", "others"]), True)
    for bands, rows in ((1, 1), (16, 6), (43, 3), (32, 8)):
        same(given, tables(Words(2), "text"), bands=bands, rows=rows)


def test_no_texts() -> None:
    same(Readable(pl.Series([], dtype=pl.String), True), tables(Words(2), "text"))


def test_texts_that_are_long_are_read_by_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "LONGEST", 100)
    given = Readable(pl.Series(["few words", "many more words " * 20, None, "and again a few"]), True)
    part = packed(given, 0, 4, 100)
    assert sorted(part.size.tolist()) == [0, 0, 9, 15]
    same(given, tables(Words(2), "text"))


def test_packed_texts_lie_by_size() -> None:
    rows = ["x" * n for n in (300, 5, 17, 0, 16, 290, 1)]
    part = packed(Readable(pl.Series(rows), True), 1, 7, 1 << 16)
    assert part.size.tolist() == [0, 1, 5, 17, 16, 290] or part.size.tolist() == [0, 1, 5, 16, 17, 290]
    for first, size, place in zip(part.first, part.size, part.place):
        assert bytes(part.data[first : first + size]).decode() == rows[1 + place]


class Full:
    """A device that has room for pieces of so many texts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int):
        self.asked: list[int] = []
        start = kernel.start

        def checked(part, *rest):
            self.asked.append(len(part.size))
            if len(part.size) > most:
                raise MemoryError("std::bad_alloc: out_of_memory")
            return start(part, *rest)

        monkeypatch.setattr(kernel, "start", checked)


def test_pieces_are_halved_where_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Readable(pl.Series(some_texts(9), dtype=pl.String), True)
    device = Full(monkeypatch, 12)
    with warnings.catch_warnings():
        warnings.simplefilter("error", KernelWarning)
        same(given, tables(Words(2), "text"))
    assert device.asked == [40, 20, 10, 10, 20, 20, 10, 10]  # the second 20 again after the piece before it has ended


def test_the_processor_does_what_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Readable(pl.Series(["one text", "another text", "a third"]), True)
    Full(monkeypatch, 0)
    with pytest.warns(KernelWarning, match="keys of texts: the memory of the device ran out"):
        same(given, tables(Words(2), "text"))


def test_other_errors_of_the_device_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    from numba.cuda.cudadrv.driver import CudaAPIError

    def broken(*_):
        raise CudaAPIError(719, "unspecified launch failure")

    monkeypatch.setattr(kernel, "start", broken)
    with pytest.raises(CudaAPIError, match="launch failure"):
        texts.keys(Readable(pl.Series(["a"]), True), tables(Words(2), "text"), BANDS, ROWS, FREE)


def test_memory_decides_about_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Readable(pl.Series(["some words of a text"] * 30), True)
    device = Full(monkeypatch, 1 << 30)
    same(given, tables(Words(2), "text"), free=4 * 1000)
    assert len(device.asked) > 5
    assert sum(device.asked) == 30
