"""Equal values: hashes that never part what is equal, a comparison that parts what is not, and room for both."""

from __future__ import annotations

import glob
import subprocess
import sys
import tempfile

import numpy as np
import polars as pl
import pytest

from robodf.dedup import exact, spool
from robodf.dedup.columns import VALUE
from robodf.dedup.decide import decide
from robodf.dedup.exact import Exact, by_hash, by_hash_in_polars, equal_in_memory, has_nothing
from robodf.dedup.how import How
from robodf.dedup.method import Keys
from robodf.dedup.spool import Spool


def reading(values: pl.Series, size: int = 7):
    """The values as they are read: in batches."""

    def read(columns=None):
        yield from values.alias(VALUE).to_frame().iter_slices(size)

    return read


def gone(values: pl.Series, method: Exact | None = None, keep: str = "first", size: int = 7) -> list[int]:
    return decide(reading(values, size), None, How(method or Exact(), keep, "representative")).row.tolist()


def bits(*patterns: int) -> pl.Series:
    return pl.Series(np.array(patterns, np.uint64).view(np.float64))


def test_keys_of_what_is_equal_are_equal() -> None:
    nans = bits(0x7FF8000000000000, 0xFFF8000000000000, 0x7FF8000000000123, 0xFFF0000000000001)
    for values in (
        nans,
        nans.reshape((4, 1)).arr.to_list(),
        pl.Series([0.0, -0.0]),
        pl.Series([0.0, -0.0]).cast(pl.Float32),
        pl.Series([[0.0], [-0.0]]),
        pl.Series([[{"a": 0.0}], [{"a": -0.0}]]),
        pl.Series([[None], [None]], dtype=pl.List(pl.Int8)),
    ):
        same = Exact().keys(values).same
        assert same is not None
        assert (same == same[:, :1]).all(), values
        assert gone(values) == list(range(1, len(values)))
    one = Exact().keys(pl.Series(["a", "b"])).same
    assert one is not None
    assert len(np.unique(one)) == 4  # two hashes, which do not agree


def test_a_key_does_not_depend_on_the_batch_or_the_position() -> None:
    values = pl.Series([["a", None], None, [], ["b"], ["a"]] * 20)
    whole = Exact().keys(values).same
    assert whole is not None
    for k in range(0, 100, 9):
        assert np.array_equal(Exact().keys(values[k : k + 9]).same, whole[:, k : k + 9])
    assert Exact().keys(values[:0]).same.shape == (2, 0)  # type: ignore[union-attr]


@pytest.mark.parametrize("wrap", ["v", "[v]", "[[v]]", "{'f': v}", "[{'f': v}]"])
def test_categories_have_the_key_of_their_text(wrap: str) -> None:
    texts = [eval(wrap, {"v": v}) for v in ("b", None, "a")]
    dtype = {
        "v": pl.Categorical(), "[v]": pl.List(pl.Categorical), "[[v]]": pl.List(pl.List(pl.Categorical)),
        "{'f': v}": pl.Struct({"f": pl.Categorical}), "[{'f': v}]": pl.List(pl.Struct({"f": pl.Categorical})),
    }[wrap]  # fmt: skip
    plain = pl.Series(texts)
    assert np.array_equal(Exact().keys(pl.Series(texts, dtype=dtype)).same, Exact().keys(plain).same)


def test_another_process_has_the_same_keys() -> None:
    code = """
import polars as pl
from robodf.dedup.exact import Exact
known = pl.Series([{known}], dtype=pl.Categorical)
values = [pl.Series([["b"], ["a"]], dtype=pl.List(pl.Categorical)), pl.Series([1.5, None]), pl.Series(["x", ""]),
          pl.Series([{{"a": [1], "b": None}}])]
print([Exact().keys(v).same.tolist() for v in values])
"""
    said = [
        subprocess.run([sys.executable, "-c", code.format(known=known)], capture_output=True, text=True, check=True)
        for known in ("'a', 'b'", "'c', 'b'")
    ]
    assert said[0].stdout == said[1].stdout


def test_nothing_to_compare() -> None:
    cases: list[tuple[list, pl.DataType, list[bool]]] = [
        (["", " ", None], pl.String(), [True, False, True]),
        ([b"", b"\0", None], pl.Binary(), [True, False, True]),
        ([[], [None], None], pl.List(pl.Int8), [True, False, True]),
        ([[None], [1], None], pl.Array(pl.Int8, 1), [False, False, True]),
        ([0, 1, None], pl.Int8(), [False, False, True]),
        ([float("nan"), 0.0, None], pl.Float64(), [False, False, True]),
        ([{"a": None, "b": ""}, {"a": 0, "b": None}, None],
         pl.Struct({"a": pl.Int8, "b": pl.String}), [True, False, True]),
        ([{"a": {"b": []}}, {"a": {"b": [""]}}, None],
         pl.Struct({"a": pl.Struct({"b": pl.List(pl.String)})}), [True, False, True]),
    ]  # fmt: skip
    for values, dtype, wanted in cases:
        series = pl.Series("v", values, dtype=dtype)
        assert series.to_frame().select(has_nothing(pl.col("v"), series.dtype)).to_series().to_list() == wanted
        assert Exact().keys(series).there.tolist() == [not nothing for nothing in wanted]
        assert Exact(lone=False).keys(series).there.all()


class Colliding(Exact):
    """Hashes that all agree: only the values tell rows apart."""

    def keys(self, values: pl.Series) -> Keys:
        found = super().keys(values)
        assert found.same is not None
        return found._replace(same=np.zeros_like(found.same))


@pytest.mark.parametrize("keep", ["first", "last", "none"])
def test_a_collision_of_hashes_drops_nothing(keep: str) -> None:
    values = pl.Series([["a"], ["b"], [None], [], None, ["a"], ["c"]])
    best = 0 if keep != "last" else 6
    found = decide(reading(values), None, How(Colliding(), keep, "representative"))
    for row, witness in zip(found.row, found.witness):
        assert values[int(row)].to_list() == values[int(witness)].to_list()
    assert found.row.tolist() == {"first": [5], "last": [], "none": [0, 5]}[keep]
    assert set(found.witness.tolist()) <= {best}


def test_values_are_compared_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    values = pl.Series([f"text {k % 40}" for k in range(500)])
    wanted = list(range(40, 500))
    for step in (1, 100, 10**9):
        monkeypatch.setattr(exact, "_COMPARED", step)
        assert gone(values) == wanted


@pytest.mark.parametrize("seed", range(20))
def test_numba_and_polars_find_the_same_best_rows(seed: int) -> None:
    pytest.importorskip("numba")
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 200))
    same = rng.integers(0, 6, (2, n)).astype(np.uint64)
    there = rng.random(n) < 0.8
    group = rng.integers(0, 3, n).astype(np.uint32) if seed % 2 else None
    place = rng.permutation(n).astype(np.int64) if seed % 3 else None
    found = by_hash_in_polars(same, there, group, place)
    assert found.dtype == np.uint32
    assert np.array_equal(found, by_hash(same, there, group, place))
    rank = np.arange(n) if place is None else place
    for k in range(n):
        like = [
            j for j in range(n)
            if there[j] and (same[:, j] == same[:, k]).all() and (group is None or group[j] == group[k])
        ]  # fmt: skip
        assert found[k] == (min(like, key=lambda j: rank[j]) if there[k] else k)


def test_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    values = pl.Series([1, 2, 1, None, 2, 1])
    wanted = [gone(values, keep=keep) for keep in ("first", "last", "none")]
    monkeypatch.setattr(exact.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(exact, "by_hash_in_polars", calls := Calls(by_hash_in_polars))
    assert (
        [gone(values, keep=keep) for keep in ("first", "last", "none")]
        == wanted
        == [[2, 4, 5], [0, 1, 2], [0, 1, 2, 4, 5]]
    )
    assert calls.count == 3


class Calls:
    def __init__(self, function):
        self.function, self.count = function, 0

    def __call__(self, *args):
        self.count += 1
        return self.function(*args)


IN_MEMORY = [
    pl.Float64, pl.Float32, pl.Int8, pl.UInt64, pl.Boolean, pl.String, pl.Binary, pl.Date, pl.Datetime("ns"),
    pl.Duration("us"), pl.Time, pl.Int128, pl.Decimal(20, 2), pl.List(pl.Float64), pl.Enum(["0", "1", "2", "3"]),
    pl.Null,
]  # fmt: skip


@pytest.mark.parametrize("dtype", IN_MEMORY)
def test_rows_in_memory_are_found_as_rows_that_are_read(dtype) -> None:
    """Of values that have no hash of their own there, too."""
    rng = np.random.default_rng(5)
    drawn = [None if k == 9 else int(k) for k in rng.choice([0, 1, 2, 3, 9], 200)]
    if dtype in (pl.Float64, pl.Float32):
        patterns = bits(0x7FF8000000000000, 0xFFF8000000000123, 0, 1 << 63, 0x3FF8000000000000).cast(dtype)
        values = patterns.gather(rng.integers(0, 5, 200)).zip_with(
            pl.Series(rng.random(200) < 0.9), pl.Series([None], dtype=dtype)
        )
    elif dtype == pl.List(pl.Float64):
        values = pl.Series([None if k is None else [[], [0.0], [-0.0], [float("nan")]][k] for k in drawn], dtype=dtype)
    elif dtype in (pl.String, pl.Binary):
        texts = ["", "x", "a text that is longer than a view " * 2, "a text that is longer than a view " * 2 + "."]
        made = pl.Series([None if k is None else texts[k] for k in drawn])
        values = made.cast(dtype)
    elif dtype == pl.Null:
        values = pl.Series([None] * 200)
    elif dtype == pl.Boolean:
        values = pl.Series([None if k is None else k > 1 for k in drawn])
    else:
        seconds = dtype in (pl.Time, pl.Datetime("ns"))  # Python has no nanoseconds
        made = pl.Series(drawn) * (10**9 if seconds else 1)
        values = (made.cast(pl.String) if isinstance(dtype, pl.Enum) else made).cast(dtype)
    values = pl.concat([values, values], rechunk=False)
    groups = pl.DataFrame(
        {"a": rng.choice([0.0, -0.0, np.nan, 1.0], 400), "b": ["u" if x else None for x in rng.random(400) < 0.5]}
    )
    for lone in (True, False):
        for by in (groups, groups.select("b"), groups.select([])):
            for place in (None, rng.permutation(400).astype(np.int64)):
                found = equal_in_memory(values, by, place, Exact(lone))
                keys = [repr((v + 0.0 if isinstance(v, float) else [x + 0.0 for x in v] if isinstance(v, list) else v,
                              *(x + 0.0 if isinstance(x, float) else x for x in g)))
                        for v, g in zip(values.to_list(), by.rows() if by.width else [()] * 400)]  # fmt: skip
                rank = np.arange(400) if place is None else place
                best: dict[str, int] = {}
                for row in np.argsort(rank).tolist():
                    best.setdefault(keys[row], row)
                there = Exact(lone).there(values)
                assert found.tolist() == [best[keys[row]] if there[row] else row for row in range(400)]


# -- spool ----------------------------------------------------------------------------------------------------------

PIECES = {
    "text": pl.Series([f"a text of some length {k}" for k in range(50)] + [None, ""]),
    "list": pl.Series([[k, None] for k in range(50)] + [None, []]),
    "struct": pl.Series([{"a": k, "b": [str(k)]} for k in range(50)] + [None]),
    "category": pl.Series(["u", "v", None] * 20, dtype=pl.Categorical),
    "enum": pl.Series(["u", "v", None] * 20, dtype=pl.Enum(["v", "u"])),
    "array": pl.Series([[1, 2], None] * 20, dtype=pl.Array(pl.Int8, 2)),
    "decimal": pl.Series([1, None] * 20, dtype=pl.Decimal(10, 2)),
    "i128": pl.Series([1, None, -(2**100)] * 20, dtype=pl.Int128),
    "duration": pl.Series([1, None] * 20, dtype=pl.Duration("ns")),
    "null": pl.Series([None] * 30),
}


@pytest.mark.parametrize("name", PIECES)
def test_what_is_spooled_comes_back(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(spool, "_FILE", 16)
    values = PIECES[name]
    made = Spool(in_memory=0)
    for k in range(0, len(values), 7):
        made.add(values[k : k + 7])
        assert not glob.glob(f"{tmp_path}/*")  # nothing is left where the process dies
    found = made.finish()
    assert found is not None
    assert made._done or not values.estimated_size()
    assert found.dtype == values.dtype
    assert found.to_list() == values.to_list()
    assert found.eq_missing(values).all()


def test_nothing_spooled() -> None:
    made = Spool()
    made.add(pl.Series([], dtype=pl.String))
    assert made.finish() is None


def test_dedup_of_more_than_fits_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    values = pl.Series([f"text number {k % 30}" * 3 for k in range(400)])
    monkeypatch.setattr(spool, "_FILE", 1000)
    monkeypatch.setattr(exact, "Spool", lambda: Spool(in_memory=2000))
    assert gone(values) == list(range(30, 400))


def test_a_full_disk_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(spool, "_FILE", 16)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    made = Spool(in_memory=0)
    with pytest.raises(OSError, match="nowhere"):
        made.add(PIECES["text"])


@pytest.mark.parametrize(
    ("on", "method", "absent", "extra"),
    [
        ("t", "fuzzy", "numba", "dedup"),
        ("v", "semantic", "numba", "dedup"),
        ("v", "trajectory", "numba", "dedup"),
        ("im", "phash", "numba", "dedup"),
        ("im", "phash", "PIL", "images"),
    ],
)
def test_a_missing_extra_says_what_to_install(on: str, method: str, absent: str, extra: str) -> None:
    code = f"""
import importlib.util, sys
sys.modules[{absent!r}] = None
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == {absent!r} else found(name, *more)
import robodf as rd
df = rd.from_dict({{"t": ["a", "a", None], "v": [[1.0]] * 3, "im": [b"x"] * 3}})
assert df.dedup("t").collect().height == 2
try:
    df.dedup({on!r}, method={method!r})
except ImportError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert f"pip install 'robodf[{extra}]'" in said.stdout
