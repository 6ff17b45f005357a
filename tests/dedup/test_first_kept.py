"""The first or the last of equal rows in memory: against a dictionary."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from test_first_equal import COLUMNS, expected

import robodf as rd
from robodf.dedup import first_kept as module
from robodf.dedup.exact import Exact, equal_in_memory, kept_in_memory
from robodf.dedup.first_kept import kept, takes


def by_dictionary(columns: list[pl.Series], there: np.ndarray, last: bool = False) -> list[bool]:
    rows = list(zip(*([plain(v) for v in c] for c in columns)))
    stays, seen = [True] * len(rows), set()
    for k in reversed(range(len(rows))) if last else range(len(rows)):
        if there[k]:
            stays[k] = rows[k] not in seen
            seen.add(rows[k])
    return stays


def plain(value: object) -> object:
    if isinstance(value, float):
        return "nan" if value != value else value + 0.0
    return value


@pytest.fixture(params=[1, 2, 5, 64])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(module.pl, "thread_pool_size", lambda: request.param)
    return request.param


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("lone", [False, True])
def test_small_columns(name: str, last: bool, lone: bool) -> None:
    values = COLUMNS[name]
    there = Exact(lone).there(values)
    assert kept([values], there, last).tolist() == by_dictionary([values], there, last)
    pieces = pl.concat([values[:3], values[3:]], rechunk=False)  # in chunks, and a slice
    assert kept([pieces], there, last).tolist() == by_dictionary([values], there, last)
    assert kept([values[1:]], there[1:], last).tolist() == by_dictionary([values[1:]], there[1:], last)
    best = expected(values, there, np.arange(len(values))[::-1].copy() if last else None)
    assert kept([values], there, last).tolist() == [k == one for k, one in enumerate(best)]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("distinct", [1, 700, 40_000])
@pytest.mark.parametrize("kind", ["words", "texts", "pairs", "mixed"])
def test_many_rows(kind: str, distinct: int, last: bool, threads: int) -> None:
    draw = np.random.Generator(np.random.PCG64(distinct + threads))
    number = pl.Series(draw.integers(0, distinct, 20_000))
    columns = {
        "words": [number * 0x9E3779B97F4A7C1],
        "texts": [number.cast(pl.String) + "_" * 12],
        "pairs": [number // 7, (number % 7).cast(pl.Int8)],
        "mixed": [number % 3, number.cast(pl.String).replace("0", None), (number // 5).cast(pl.Float32)],
    }[kind]
    there = draw.random(20_000) < (1.0 if kind == "pairs" else 0.9)
    assert kept(columns, there, last).tolist() == by_dictionary(columns, there, last)


def test_texts_of_every_length_that_differ_in_one_byte() -> None:
    texts = ["x" * n for n in range(1, 70)]
    changed = [text[:k] + "y" + text[k + 1 :] for text in texts for k in range(len(text))]
    rows = pl.Series([*changed, *texts, *changed, "", ""])
    assert kept([rows], np.ones(len(rows), bool)).tolist() == by_dictionary([rows], np.ones(len(rows), bool))
    as_bytes = rows.cast(pl.Binary)
    assert kept([as_bytes], np.ones(len(rows), bool)).sum() == rows.n_unique()


def test_more_nulls_than_fit_into_a_word() -> None:
    draw = np.random.Generator(np.random.PCG64(1))
    columns = [pl.Series([1, None]).gather(draw.integers(0, 2, 300) * draw.integers(0, 2, 300)) for _ in range(70)]
    columns = [c.gather(np.arange(600) % 300) for c in columns]
    there = np.ones(600, bool)
    assert kept(columns, there).tolist() == by_dictionary(columns, there)


def test_equal_hashes_are_compared_by_value() -> None:
    words = np.array([[1, 2], [1, 3], [1, 2], [2, 2], [1, 3]], np.uint64)
    none = np.empty(0, bool)
    for hashes in (np.zeros(5, np.uint64), np.full(5, 2**64 - 1, np.uint64)):
        part = int(hashes[0] >> np.uint64(63))
        views = (np.empty((0, 2), np.uint64), np.empty(0, np.int64))
        rows, _ = module._of_rows(hashes, words, *views, none, False, part, 1)
        assert rows.tolist() == [0, 1, 3]
        rows, _ = module._of_rows(hashes, words, *views, none, True, part, 1)
        assert rows.tolist() == [4, 3, 2]


def test_views_that_point_out_of_their_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    values = pl.Series(["a text of more than twelve bytes", "another text of more than twelve"])
    found = module.views_of(values)
    monkeypatch.setattr(module, "views_of", lambda _: (*found[:2], found[2] - 5, found[3]))
    with pytest.raises(ValueError, match="broken"):
        kept([values], np.ones(2, bool))


def test_what_it_takes() -> None:
    assert takes([pl.Int64(), pl.String()])
    assert takes([pl.Binary()])
    assert not takes([])
    assert not takes([pl.String(), pl.String()])
    assert not takes([pl.Int64(), pl.List(pl.Int64())])
    assert kept([pl.Series([], dtype=pl.Int64)], np.ones(0, bool)).tolist() == []


def test_structs_and_groups() -> None:
    values = pl.Series([{"a": 1, "b": None}, {"a": 1, "b": None}, {"a": None, "b": None}, {"a": None, "b": None}])
    values = values.cast(pl.Struct({"a": pl.Int64, "b": pl.String}))
    groups = pl.DataFrame({"g": [1, 2, 1, 1]})
    for lone in (False, True):
        method = Exact(lone)
        for frame in (pl.DataFrame(), groups):
            found = kept_in_memory(values, frame, "first", method)
            assert found is not None
            best = equal_in_memory(values, frame, None, method)
            assert found.tolist() == (best == np.arange(4)).tolist()
    assert kept_in_memory(values, groups, "none", Exact()) is None
    assert kept_in_memory(pl.Series([{"a": 1}, None]), groups[:2], "first", Exact()) is None


@pytest.mark.parametrize("keep", ["first", "last"])
def test_dedup_keeps_the_same_as_its_clusters(keep: str) -> None:
    draw = np.random.Generator(np.random.PCG64(7))
    frame = rd.from_dict({
        "episode": draw.integers(0, 4, 3000).tolist(),
        "caption": [None if k == 5 else "" if k == 6 else f"take {k}" for k in draw.integers(0, 90, 3000)],
        "i": list(range(3000)),
    })  # fmt: skip
    for within in ((), ("episode",)):
        said = frame.clusters("caption", method="exact", within=within, keep=keep).collect()
        rows = frame.dedup("caption", within=within, keep=keep)
        assert rows.collect()["i"].to_list() == said.filter("is_kept")["i"].to_list()
        assert f"{3000 - said['is_kept'].sum():,} dropped" in rows.explain()
