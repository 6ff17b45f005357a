"""From a column of texts to n-grams: layouts in memory, words and characters as Unicode knows them."""

from __future__ import annotations

import ctypes
import gc
import hashlib
import sys
import unicodedata

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

pytest.importorskip("numba", reason="fuzzy dedup needs numba")

from robodf.dedup import minhash
from robodf.dedup.fuzzy import Fuzzy
from robodf.dedup.reading import Readable
from robodf.dedup.separators import bits
from robodf.dedup.shingles import Chars, Words, splitmix, tables
from robodf.dedup.strings import texts
from robodf.errors import OptionError, SchemaError

TEXTS = ["short", "", None, "exactly 12 b", "thirteen bytes", "é" * 40, "한국어 텍스트", "x" * 5000, None, "end"]


def strings_at(values):
    """What lies at the addresses."""
    found = texts(values)
    return [
        None if size < 0 else ctypes.string_at(int(at), int(size)).decode() for at, size in zip(found.at, found.size)
    ]


def columns():
    one = pl.Series(TEXTS)
    yield "whole", one, TEXTS
    yield "slice", one.slice(3, 5), TEXTS[3:8]
    yield (
        "chunks",
        pl.concat([one, one.slice(2, 3), pl.Series([], dtype=pl.String), one.reverse()], rechunk=False),
        (TEXTS + TEXTS[2:5] + TEXTS[::-1]),
    )
    yield "gathered", one.gather([7, 5, 2, 0]), [TEXTS[k] for k in (7, 5, 2, 0)]
    yield "empty", pl.Series([], dtype=pl.String), []
    yield "nulls", pl.Series([None, None], dtype=pl.String), [None, None]
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        array = pa.array(TEXTS, kind)
        yield str(kind), array, TEXTS
        yield f"{kind} slice", array.slice(4, 4), TEXTS[4:8]
        yield f"{kind} chunks", pa.chunked_array([array, array.slice(9)]), TEXTS + TEXTS[9:]
        yield f"{kind} empty", pa.array([], kind), []


@pytest.mark.parametrize(("values", "expected"), [pytest.param(v, e, id=i) for i, v, e in columns()])
def test_strings_are_read_where_they_lie(values, expected):
    assert strings_at(values) == expected


def test_what_is_read_stays_in_memory():
    found = texts(pl.Series(["y" * 1_000_000, "z" * 13]).gather([1, 0]))
    gc.collect()
    pl.Series(["w" * 1_000_000] * 3)
    assert ctypes.string_at(int(found.at[1]), 1_000_000) == b"y" * 1_000_000


def test_what_is_no_string_is_refused():
    for values in (pl.Series([1]), pa.array([1]), pa.array(["a"]).dictionary_encode()):
        with pytest.raises(SchemaError, match="cast the column to String"):
            texts(values)


def test_broken_views_and_offsets_are_refused():
    views = np.array([100, 0, 0, 0], np.int32)  # 100 bytes in a buffer of 50
    for number, offset, size in ((0, 0, 100), (1, 0, 20), (0, 45, 20), (0, -1, 20)):
        views[:] = size, 0, number, offset
        buffers = [None, pa.py_buffer(views.tobytes()), pa.py_buffer(b"a" * 50)]
        array = pa.Array.from_buffers(pa.string_view(), 1, buffers)
        with pytest.raises(ValueError, match="broken Arrow"):
            texts(array)
    for offsets in ([0, 99, 10, 20], [0, 30, 10, 20], [0, -1, 10, 20]):
        edges = pa.py_buffer(np.array(offsets, np.int32).tobytes())
        array = pa.Array.from_buffers(pa.string(), 3, [None, edges, pa.py_buffer(b"a" * 50)])
        with pytest.raises(ValueError, match="broken Arrow"):
            texts(array)


def parted(character):
    category = unicodedata.category(character)
    return character != "_" and (category[0] in "PSZ" or category in ("Cc", "Cf"))


def words(text, normalize="text"):
    """The words of a text, one character at a time."""
    blank = parted if normalize else str.isspace
    text = text.lower() if normalize else text
    return "".join("\n" if blank(c) else c for c in text).split("\n")


def shingles(text, shingle, normalize):
    """The set of n-grams in plain Python."""
    if isinstance(shingle, Words):
        units = [word for word in words(text, normalize) if word]
    elif normalize:
        units = list(" ".join(word for word in words(text) if word))
    else:
        units = list(text)
    n = shingle.n
    if len(units) <= n:
        return {tuple(units)} if units else set()
    return {tuple(units[k : k + n]) for k in range(len(units) - n + 1)}


def hashes(values, shingle, normalize="text"):
    """The sets of hashes that are compared."""
    held = Fuzzy(shingle=shingle, normalize=normalize).hold(iter([values]), len(values))
    return [set(held.hashes[a:b].tolist()) for a, b in zip(held.edges[:-1], held.edges[1:])]


@pytest.mark.parametrize("text", [True, False])
def test_every_character_parts_as_its_category_says(text):
    table = np.unpackbits(bits(text).view(np.uint8), bitorder="little")
    wrong = []
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        # Python counts four ASCII controls as blanks that the property White_Space does not have.
        expected = parted(character) if text else character.isspace() and not 0x1C <= code <= 0x1F
        if bool(table[code]) != expected:
            wrong.append(character)
    if unicodedata.unidata_version == "14.0.0":
        assert not wrong
    else:  # what later versions have assigned
        assert len(wrong) < 500


ALPHABET = [
    *"abcXYZ019_ ,.-\t\n",
    *("é", "Ü", "ß", "中", "文", "ключ", "،", "—", "\u00a0", "\u3000", "👍", "e\u0301", "𝒳"),
]


def some_texts(seed, count):
    draw = np.random.Generator(np.random.PCG64(seed))
    for _ in range(count):
        alphabet = ALPHABET[:16] if draw.random() < 0.5 else ALPHABET
        yield "".join(draw.choice(alphabet, int(draw.integers(0, 60))).tolist())


@pytest.mark.parametrize("normalize", ["text", None])
@pytest.mark.parametrize("shingle", [Words(1), Words(2), Words(5), Chars(1), Chars(3), Chars(8)], ids=lambda s: s.label)
def test_hashes_stand_for_the_n_grams(shingle, normalize):
    rows = [*some_texts(3, 600), "", " ", "...", "\u3000", "_"]
    rows += ["a" * 5000, "ab " * 2000, "中" * 3000, "\u3000 a \u3000"]
    names = {}
    for text, found in zip(rows, hashes(pl.Series(rows), shingle, normalize)):
        expected = shingles(text, shingle, normalize)
        assert len(found) == len(expected), text
        names.setdefault(frozenset(expected), found)
        assert names[frozenset(expected)] == found
    # Each hash belongs to one n-gram: as many as there are, over all rows.
    assert len(set().union(*names.values())) == len(set().union(*names))


@pytest.mark.parametrize("normalize", ["text", None])
@pytest.mark.parametrize("shingle", [Words(3), Chars(4)], ids=lambda s: s.label)
def test_both_paths_compute_the_same_of_ascii(shingle, normalize):
    rows = pl.Series(["".join(c for c in text if c.isascii()) * k for k, text in enumerate(some_texts(5, 200))])
    made = tables(shingle, normalize)
    fast = minhash.keys(Readable(rows, True), made, 4, 3)
    slow = Readable(rows, True)
    assert slow.plain.all()
    slow.plain[:] = False
    slow = minhash.keys(slow, made, 4, 3)
    for one, other in zip(fast, slow):
        assert (one == other).all()


def test_texts_longer_than_a_block_are_read_as_if_there_were_none():
    draw = np.random.Generator(np.random.PCG64(9))
    for shingle in (Words(5), Words(64), Chars(7), Chars(64)):
        rows = []
        for size in (1020, 1024, 1025, 2046, 2047, 2048, 2049, 2050, 9000):
            rows.append("".join(draw.choice(list("ab  c"), size).tolist()))
            rows.append("".join(draw.choice(list("ab  中"), size).tolist()))
            rows.append("x" * size + " " * size)
            rows.append("x y " * size + "!" * 1500)
            rows.append("." * size + " Z z")
        for text, found in zip(rows, hashes(pl.Series(rows), shingle)):
            assert len(found) == len(shingles(text, shingle, "text"))


def test_words_longer_than_what_is_read_at_a_time():
    """A word has one hash, wherever it stands and in whatever text."""
    draw = np.random.Generator(np.random.PCG64(10))
    for letters in ("abcXYZ", "abé中", "中文", "é"):
        for size in (1, 7, 8, 9, 15, 16, 17, 56, 57, 64, 65, 1000, 2031, 2032, 2033, 2047, 2048, 2049, 4096, 5000):
            word = "".join(draw.choice(list(letters), size).tolist())
            alone, after, among, other, longer = hashes(
                pl.Series([word, "b " * 37 + word, f"é—{word} x", word[:-1] + "q", word + "q"]), Words(1)
            )
            assert len(alone) == len(other) == len(longer) == 1
            assert len(after | alone) == 2
            assert alone < after
            assert alone < among
            assert len(alone | other | longer) == 3


def test_texts_that_end_anywhere_in_what_is_read_at_a_time():
    for size in (*range(1, 140), *range(2040, 2060), *range(4090, 4100)):
        text = ("pick up The red_block2, " * 200)[:size]
        found, padded = hashes(pl.Series([text, text + " —"]), Words(2))
        assert found == padded
        assert len(found) == len(shingles(text, Words(2), "text"))


def test_bytes_beyond_the_end_of_a_word_are_unlike_any_letter():
    rows = ["a\0", "a", "a\0\0", "\0", "a" * 16, "a" * 16 + "\0", "a" * 8, "a" * 8 + "\0"]
    assert len(set().union(*hashes(pl.Series(rows), Words(1), None))) == len(rows)


def test_ends_are_those_of_all_orders():
    import numba

    from robodf.dedup.lanes import LANES, widen

    @numba.njit
    def widened(least, greatest, hashes, factors):
        widen(
            least.ctypes.data, greatest.ctypes.data, hashes.ctypes.data, hashes.size, factors.ctypes.data
        )  # fmt: skip
        return least, greatest

    factors = minhash.orders(LANES)
    for count in (0, 1, 2, 7, 300):
        x = splitmix(5, count)
        orders = factors[:, None] * (x >> np.uint64(32)).astype(np.uint32)[None]
        least, greatest = widened(np.full(LANES, 2**32 - 1, np.uint32), np.zeros(LANES, np.uint32), x, factors)
        assert (least == orders.min(axis=1, initial=2**32 - 1)).all()
        assert (greatest == orders.max(axis=1, initial=0)).all()


@pytest.mark.parametrize("similarity", [0.5, 0.8, 0.9])
@pytest.mark.parametrize("size", [10, 200])
def test_two_sets_share_a_key_at_least_as_often_as_is_promised(similarity, size):
    """Of sets drawn by chance: 9 keys of 3 minima, 5 of first and 4 of last n-grams."""
    bands, rows, pairs = 9, 3, 4000
    common, own = round(size * similarity), size - round(size * similarity)
    draw = np.random.default_rng(size)
    words = draw.integers(0, 2**40, (pairs, size)).astype(str)
    left = [" ".join(row[: common + own // 2]) for row in words]
    right = [" ".join([*row[:common], *row[common + own // 2 :]]) for row in words]
    made = tables(Words(1), "text")
    a, b = (minhash.keys(Readable(pl.Series(side), True), made, bands, rows).bands for side in (left, right))
    share = common / size
    found, each = (a == b).any(axis=0).mean(), (a == b).mean(axis=1)
    sway = 4 / (2 * pairs**0.5)  # four standard deviations at most
    assert abs(each - share**rows).max() < sway
    assert found > 1 - (1 - share**rows) ** bands - sway


def test_what_is_equal_to_the_reader_is_equal():
    alike = ["Grasp the RED cup.", "grasp, the red cup", "  GRASP\tthe\n\nred   cup!!!", "grasp—the “red” cup 👍"]
    for shingle in (Words(2), Chars(3)):
        keys = Fuzzy(shingle=shingle).keys(pl.Series(alike))
        assert (keys.same == keys.same[:, :1]).all()
        assert (keys.bands == keys.bands[:, :1]).all()
    pairs = ["ÀÉÎ ÕÜ straße", "àéî õü STRASSE", "\u212aelvin", "kelvin"]
    same = Fuzzy(shingle=Words(1)).keys(pl.Series(pairs)).same
    assert same[0, 0] != same[0, 1]  # lower case, not case folding
    assert (same[:, 2] == same[:, 3]).all()  # the Kelvin sign is ASCII in lower case


def test_long_runs_of_one_byte_do_not_cancel_out():
    lengths = [1, 63, 64, 65, 127, 128, 129, 192, 256, 1024, 4096]
    found = hashes(pl.Series([letter * n for letter in "ab" for n in lengths]), Words(1))
    assert all(len(one) == 1 for one in found)
    assert len(set.union(*found)) == 2 * len(lengths)
    found = hashes(pl.Series([f"{word} " * 64 for word in "abcdefgh"]), Words(64))
    assert len(set.union(*found)) == 8
    found = hashes(pl.Series([letter * 64 for letter in "abcdefgh"]), Chars(64))
    assert len(set.union(*found)) == 8


def test_bytes_that_are_no_utf8_are_read_within_their_ends():
    """Polars and Arrow take such bytes unchecked from others."""
    raw = [b"\xff", b"\xc3", b"\xe4\xb8", b"\xf0\x9f\x91", b"abc \xf0", b"\x80\x80 a b", b"\xf7\xbf\xbf\xbf"]
    edges = np.cumsum([0, *map(len, raw)]).astype(np.int64)
    buffers = [None, pa.py_buffer(edges.tobytes()), pa.py_buffer(b"".join(raw))]
    held = texts(pa.Array.from_buffers(pa.large_string(), len(raw), buffers))
    readable = Readable(pl.Series(["-"] * len(raw)), False)
    readable.at, readable.size = held.at, held.size
    readable.plain[:] = False
    for shingle in (Words(1), Chars(1)):
        assert minhash.keys(readable, tables(shingle, "text"), 1, 1).there.all()


def test_n_grams_that_are_none():
    for make in (Words, Chars):
        for n in (0, -1, 65, 2.0, "5", None, True):
            with pytest.raises(OptionError, match=f"{make.__name__.lower()}\\("):
                make(n)
        assert hash(make(3)) == hash(make(3))
        assert make(3) != make(4)
    assert Words(3) != Chars(3)
    assert (Words(5).label, Chars(24).label) == ("words(5)", "chars(24)")


def test_numbers_from_a_seed_are_those_of_splitmix64():
    # The first of the published sequence for seed 1234567.
    assert splitmix(1234567, 3).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_keys_stay_what_they_are_as_they_are_saved():
    rows = pl.Series(["Pick up the red block and put it into the drawer", "ä" * 30, "x", "中文没有空格", "a_b, c"])
    digest = hashlib.blake2b(digest_size=8)
    for shingle in (Words(5), Words(1), Chars(4)):
        for normalize in ("text", None):
            keys = Fuzzy(shingle=shingle, normalize=normalize).keys(rows)
            digest.update(keys.bands.astype("<u8").tobytes())
            digest.update(keys.same.astype("<u8").tobytes())
    assert digest.hexdigest() == "fa7241eb788678cd"
