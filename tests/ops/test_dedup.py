"""Rows that say the same: which stay, against answers in plain Python."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.dedup.caps import CappedWarning
from robodf.errors import ColumnNotFoundError, OptionError, QueryError, SchemaError
from robodf.frame import dedup_methods

NAN = float("nan")


def ids(frame: rd.PipelineDataFrame) -> list[int]:
    return frame.select("i").collect(engine="local")["i"].to_list()


def kind(value: Any) -> Hashable:
    """Equal for values that are one: NaN is NaN, -0.0 is 0.0, null is null inside of others."""
    if isinstance(value, float):
        return ("float", "nan" if value != value else value + 0.0)
    if isinstance(value, (list, tuple)):
        return ("list", *map(kind, value))
    if isinstance(value, dict):
        return ("dict", *((k, kind(v)) for k, v in value.items()))
    return (type(value).__name__, value)


def nothing(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(nothing, value.values()))
    return value is None or value in ("", b"", [])


def equal_ones(values: list, keep: str = "first", groups: list | None = None, nulls: str = "keep") -> list[int]:
    """The positions that stay, of values (tuples: of several columns)."""
    kinds: dict[Hashable, list[int]] = {}
    for k, value in enumerate(values):
        lone = nulls == "keep" and all(map(nothing, value if isinstance(value, tuple) else (value,)))
        key = ("lone", k) if lone else ("same", kind(value))
        kinds.setdefault((kind(groups[k]) if groups else 0, key), []).append(k)
    if keep == "none":
        return sorted(rows[0] for rows in kinds.values() if len(rows) == 1)
    return sorted(rows[0 if keep == "first" else -1] for rows in kinds.values())


VALUES: dict[str, tuple[Any, list]] = {
    "int": (pl.Int64, [1, 2, 1, None, None, 2, 0]),
    "float": (pl.Float64, [0.0, -0.0, NAN, NAN, None, None, 1.0]),
    "float32": (pl.Float32, [NAN, 0.0, -0.0, None, 1.5, NAN, None]),
    "bool": (pl.Boolean, [True, False, True, None, None, False, True]),
    "text": (pl.String, ["a", "A", "a", "", "", None, "ä"]),
    "bytes": (pl.Binary, [b"a", b"a", b"", b"", None, b"b", b"b\0"]),
    "list": (pl.List(pl.String), [["a"], ["a"], [], [], None, ["a", "b"], ["ab"]]),
    "list of floats": (pl.List(pl.Float64), [[0.0], [-0.0], [NAN], [NAN], [None], [None], [1.0]]),
    "array": (pl.Array(pl.Float64, 2), [[0.0, 1], [-0.0, 1], [NAN, 1], [NAN, 1], None, None, [1, 0.0]]),
    "array of arrays": (
        pl.Array(pl.Array(pl.Int8, 1), 2),
        [[[1], [2]], [[2], [1]], None, [[1], [2]], None, [[1], [1]], [[1], [1]]],
    ),
    "list of arrays": (pl.List(pl.Array(pl.Int8, 2)), [[[1, 2]], [[1, 2]], [], [], None, [[1, 2], [1, 2]], [[1, 2]]]),
    "struct": (
        pl.Struct({"a": pl.Float64, "b": pl.String}),
        [{"a": 0.0, "b": "x"}, {"a": -0.0, "b": "x"}, {"a": NAN, "b": None}, {"a": NAN, "b": None},
         {"a": None, "b": None}, {"a": None, "b": ""}, {"a": None, "b": "x"}],
    ),
    "list of structs": (
        pl.List(pl.Struct({"a": pl.Float64, "b": pl.List(pl.Int8)})),
        [[{"a": 0.0, "b": [1]}], [{"a": -0.0, "b": [1]}], [{"a": NAN, "b": None}], [{"a": NAN, "b": None}], [], None,
         [{"a": None, "b": []}]],
    ),
    "enum": (pl.Enum(["u", "v"]), ["u", "u", "v", None, None, "v", "u"]),
    "categorical": (pl.Categorical, ["u", "u", "v", None, None, "v", "u"]),
    "null": (pl.Null, [None] * 7),
}  # fmt: skip


def framed(dtype: Any, values: list) -> rd.PipelineDataFrame:
    return rd.from_polars(pl.DataFrame({"v": pl.Series(values, dtype=dtype), "i": range(len(values))}))


# -- exact ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nulls", ["keep", "equal"])
@pytest.mark.parametrize("name", VALUES)
def test_equal_values_of_any_type(name: str, nulls: str) -> None:
    dtype, values = VALUES[name]
    frame = framed(dtype, values)
    for keep in ("first", "last", "none"):
        assert ids(frame.dedup("v", keep=keep, nulls=nulls)) == equal_ones(values, keep, nulls=nulls)


def test_exact_on_each_engine(run) -> None:
    floats = [0.0, -0.0, NAN, NAN, None, None, 1.0, NAN, 0.0, 1.0]
    lists = [["a"], [], ["a"], [], None, None, ["a"], ["b"], ["a"], ["a"]]
    frame = rd.from_polars(pl.DataFrame({"f": floats, "l": lists, "i": range(10)}, schema_overrides={"f": pl.Float64}))
    for keep in ("first", "last", "none"):
        assert run(frame.dedup("f", keep=keep))["i"].to_list() == equal_ones(floats, keep)
    both = list(zip(floats, lists))
    assert run(frame.dedup(["f", "l"]))["i"].to_list() == equal_ones(both)
    found = run(frame.clusters("f", nulls="equal")).sort("i")
    assert found.columns == ["f", "l", "i", "cluster_id", "similarity", "is_kept"]
    assert found["cluster_id"].to_list() == [0, 0, 2, 2, 4, 4, 6, 2, 0, 6]
    assert found["similarity"].to_list() == [None, 1, None, 1, None, 1, None, 1, 1, 1]


def test_several_columns_expressions_and_all() -> None:
    a, b = [1, 1, None, None, 1, 2], ["x", "x", None, None, "", "x"]
    frame = rd.from_dict({"a": a, "b": b, "i": list(range(6))})
    both = list(zip(a, b))
    assert ids(frame.dedup(["a", "b"])) == ids(frame.dedup(("b", "a"))) == equal_ones(both) == [0, 2, 3, 4, 5]
    assert ids(frame.dedup(["a", "b"], nulls="equal")) == [0, 2, 4, 5]
    assert ids(frame.dedup(["a", "a"])) == ids(frame.dedup("a")) == [0, 2, 3, 5]
    assert ids(frame.dedup(col("a") % 2)) == [0, 2, 3, 5]
    assert ids(frame.dedup(col("b").str.to_uppercase())) == [0, 2, 3, 4]
    # Two expressions that Polars names alike.
    assert ids(frame.dedup([col("i") % 2, col("i") // 4])) == [0, 1, 4, 5]
    assert ids(frame.dedup([col("a"), col("a") * 0, rd.lit(7)])) == [0, 2, 5]
    copies = rd.from_dict({"a": [1, 1, None, None], "b": ["x", "x", None, None]})
    # On all columns rows of nothing but nulls are copies, as in SQL's DISTINCT.
    assert copies.dedup().collect(engine="local").rows() == [(1, "x"), (None, None)]
    assert copies.dedup(keep=rd.best("a")).collect(engine="local").rows() == [(1, "x"), (None, None)]
    assert copies.dedup(keep="none").collect(engine="local").rows() == []
    assert copies.clusters().collect(engine="local")["cluster_id"].to_list() == [0, 0, 2, 2]


def test_drop_duplicates_is_that_of_pandas() -> None:
    a, b = [1, None, None, NAN, 1, NAN], ["", "", "", None, "", None]
    frame = rd.from_dict({"a": a, "b": b, "i": list(range(6))}, schema={"a": pl.Float64, "b": pl.String, "i": pl.Int64})
    assert ids(frame.drop_duplicates("a")) == [0, 1, 3]
    assert ids(frame.drop_duplicates(["a", "b"], keep="last")) == [2, 4, 5]
    assert ids(frame.drop_duplicates("b", keep=False)) == ids(frame.drop_duplicates("b", keep="none")) == []
    assert ids(frame.drop_duplicates()) == list(range(6))
    for wrong, message in (("any", "'first', 'last' or False"), (True, "'first', 'last' or False")):
        with pytest.raises(OptionError, match=message):
            frame.drop_duplicates("a", keep=wrong)
    with pytest.raises(QueryError, match="names no column"):
        frame.drop_duplicates([])
    with pytest.raises(ColumnNotFoundError, match="'a'"):
        frame.drop_duplicates("aa")


# -- which row stays ------------------------------------------------------------------------------------------------


def test_the_best_row_stays() -> None:
    frame = rd.from_dict({
        "t": ["a"] * 5 + ["b"] * 3 + ["c"] * 2,
        "q": [None, 1.0, NAN, 2.0, 2.0, NAN, None, None, NAN, -1.0],
        "z": [0, 0, 0, 1, 2, 0, 5, 6, 0, 0],
        "i": list(range(10)),
    })  # fmt: skip
    for method in ("exact", "fuzzy"):
        kept = lambda *by, m=method, **kw: ids(frame.dedup("t", method=m, keep=rd.best(*by, **kw)))  # noqa: E731
        assert kept("q") == [3, 5, 9]  # ties, and null beside NaN: the first
        assert kept("q", descending=False) == [1, 5, 9]  # null and NaN are the worst this way too
        assert kept("q", "z") == [4, 7, 9]
        assert kept("q", "z", descending=[True, False]) == [3, 5, 9]
        assert kept(["q", "z"], descending=[False, True]) == [1, 7, 9]
        assert kept(-col("i")) == [0, 5, 8]
        assert kept(col("z") == 1, "i") == [3, 7, 9]
        assert kept(col("i").max() - col("i")) == [0, 5, 8]  # it may read other rows
        assert kept("t") == [0, 5, 8]


def test_order_by_what_polars_orders(run) -> None:
    frame = rd.from_dict({"t": ["pick up"] * 4, "s": ["b", None, "c", "a"], "i": list(range(4))})
    assert run(frame.dedup("t", method="fuzzy", keep=rd.best("s")))["i"].to_list() == [2]
    assert run(frame.dedup("t", method="fuzzy", keep=rd.best("s", descending=False)))["i"].to_list() == [3]
    assert run(frame.dedup("t", method="fuzzy", keep="last"))["i"].to_list() == [3]
    assert run(frame.dedup("t", method="fuzzy", keep="none")).height == 0


def test_within_null_and_nan_are_groups() -> None:
    g = [1.0, 1.0, None, None, NAN, NAN, -0.0, 0.0, 2.0]
    h = ["u", "u", "v", "v", None, None, "u", "u", "u"]
    frame = rd.from_dict({"t": ["same words"] * 9, "g": g, "h": h, "i": list(range(9))})
    for method in ("exact", "fuzzy"):
        assert ids(frame.dedup("t", method=method, within="g")) == [0, 2, 4, 6, 8]
        assert ids(frame.dedup("t", method=method, within="g", keep="last")) == [1, 3, 5, 7, 8]
        assert ids(frame.dedup("t", method=method, within="h")) == [0, 2, 4]
        assert ids(frame.dedup("t", method=method, within=["g", "h"], keep="none")) == [8]
        assert ids(frame.dedup("t", method=method, within=())) == [0]
    assert ids(frame.dedup(within="g")) == list(range(9))  # on all columns, i too
    assert ids(frame.select("t", "g", i=col("i") // 2).dedup(within="g")) == [0, 1, 2, 3, 4]


def test_within_on_each_engine(run) -> None:
    g = [1.0, 1.0, None, None, NAN, NAN, -0.0, 0.0, 2.0]
    frame = rd.from_dict({"t": ["same words"] * 9, "g": g, "i": list(range(9))})
    found = run(frame.clusters("t", method="fuzzy", within="g", keep="last")).sort("i")
    assert found["cluster_id"].to_list() == [1, 1, 3, 3, 5, 5, 7, 7, 8]
    assert run(frame.dedup("t", within="g"))["i"].to_list() == [0, 2, 4, 6, 8]


# -- fuzzy ----------------------------------------------------------------------------------------------------------


def normal(text: str) -> str:
    """Of texts of ASCII."""
    return re.sub("[^a-z0-9_]+", " ", text.lower()).strip()


def chars(text: str, n: int) -> set:
    return {text[k : k + n] for k in range(max(len(text) - n, 0) + 1)}


def words(text: str, n: int) -> set:
    return {tuple(w) for w in (text.split()[k : k + n] for k in range(max(len(text.split()) - n, 0) + 1))}


def jaccard(a: set, b: set) -> float:
    return len(a & b) / len(a | b)


def captions(seed: int, rows: int) -> list[str | None]:
    """Texts of which many are alike, to all degrees."""
    rng = random.Random(seed)
    known = [f"{a}{b}{c}" for a, b, c in itertools.product("pbtk", "aeiou", ("nd", "st", "rm"))]
    made: list[str | None] = [None, "", " ... ", "Pick"]
    while len(made) < rows:
        text = rng.choice([t for t in made if t and normal(t)]) if rng.random() < 0.6 else ""
        found = normal(text).split() if text else rng.choices(known, k=rng.randint(4, 12))
        for _ in range(rng.randint(0, 3) if text else 0):
            found[rng.randrange(len(found))] = rng.choice(known)
        shouted = [w.upper() if rng.random() < 0.2 else w for w in found]
        made.append(rng.choice([" ", ", ", "  "]).join(shouted) + rng.choice(["", ".", "!"]))
    rng.shuffle(made)
    return made


def pairs_by_brute_force(texts: list, shingles: Callable[[str], set], least: float) -> dict[tuple[int, int], float]:
    sets = [shingles(normal(t)) if t is not None and normal(t) else None for t in texts]
    found = {}
    for a, b in itertools.combinations(range(len(texts)), 2):
        left, right = sets[a], sets[b]
        if left is not None and right is not None and jaccard(left, right) >= least:
            found[a, b] = jaccard(left, right)
    return found


@pytest.mark.parametrize(
    ("options", "shingles", "least"),
    [
        ({}, lambda t: chars(t, 5), 0.8),
        ({"threshold": 0.5, "shingle": rd.chars(3)}, lambda t: chars(t, 3), 0.5),
        ({"threshold": 0.6, "shingle": rd.words(1)}, lambda t: words(t, 1), 0.6),
        ({"threshold": 1.0, "shingle": rd.words(2)}, lambda t: words(t, 2), 1.0),
    ],
)
def test_similar_pairs_are_those_of_brute_force(options, shingles, least) -> None:
    texts = captions(3, 120)
    wanted = pairs_by_brute_force(texts, shingles, least)
    rows = rd.from_dict({"t": texts}).similar_pairs("t", **options).collect(engine="local")
    found = {(lo, hi): similarity for lo, hi, similarity in rows.iter_rows()}
    assert rows.select("lo", "hi").rows() == sorted(found)
    assert found.items() <= wanted.items()  # each verified, to the last bit
    assert len(found) >= 0.97 * len(wanted) > 30


def test_similar_pairs_within_and_on_each_engine(run) -> None:
    texts = captions(4, 60)
    frame = rd.from_dict({"t": texts, "g": [k % 2 for k in range(60)]})
    found = run(frame.similar_pairs("t", threshold=0.5, within="g"))
    assert found.schema == {"lo": pl.Int64, "hi": pl.Int64, "similarity": pl.Float64}
    wanted = {p: s for p, s in pairs_by_brute_force(texts, lambda t: chars(t, 5), 0.5).items() if sum(p) % 2 == 0}
    assert {(lo, hi): s for lo, hi, s in found.iter_rows()}.items() <= wanted.items()
    assert len(found) >= 0.9 * len(wanted) > 5


def test_clusters_say_what_dedup_does(run) -> None:
    texts = captions(5, 120)
    frame = rd.from_dict({"t": texts, "q": [k * 7 % 10 for k in range(120)], "i": list(range(120))})
    for options in ({"keep": rd.best("q")}, {"keep": "none"}, {"link": "component", "threshold": 0.5}):
        kept = run(frame.dedup("t", method="fuzzy", **options))
        found = run(frame.clusters("t", method="fuzzy", **options)).sort("i")
        assert found.schema == {**frame.schema, "cluster_id": pl.Int64, "similarity": pl.Float64, "is_kept": pl.Boolean}
        assert found.filter("is_kept").select(kept.columns).equals(kept)
        assert found["t"].to_list() == texts
        goes = found.filter(~pl.col("is_kept"))
        assert len(goes) > 10
        assert goes["similarity"].min() >= options.get("threshold", 0.8)
        stays = found.filter("is_kept")
        assert stays["cluster_id"].equals(stays["i"].alias("cluster_id"))
        assert stays["similarity"].null_count() == len(stays)


def test_a_component_is_a_chain_that_a_representative_is_not() -> None:
    chain = [" ".join(f"w{j}" for j in range(k, k + 20)) for k in (0, 2, 4, 6)]  # neighbours share 18 of 22 words
    frame = rd.from_dict({"t": [*chain, "another thing"], "i": list(range(5))})
    asked: dict[str, Any] = {"method": "fuzzy", "shingle": rd.words(1), "threshold": 0.8}
    assert ids(frame.dedup("t", **asked)) == [0, 2, 4]
    assert ids(frame.dedup("t", link="component", **asked)) == [0, 4]
    found = frame.clusters("t", link="component", **asked).collect(engine="local")
    assert found["cluster_id"].to_list() == [0, 0, 0, 0, 4]
    assert found["similarity"].to_list() == [None, 18 / 22, 18 / 22, 18 / 22, None]
    assert ids(frame.dedup("t", link="component", keep="last", **asked)) == [3, 4]
    assert ids(frame.dedup("t", keep="none", **asked)) == [4]


def test_texts_of_the_world() -> None:
    texts = [
        "GREIFE DEN ROTEN WÜRFEL", "greife den roten Würfel!",
        "赤い箱を持ち上げてください", "赤い箱を持ち上げてください。",
        "🤖🤖🤖", "🤖", "Подними красный куб", "ПОДНИМИ красный куб…", "ı", "I", "\x00", "a\x00b", "A B", "\t", None,
    ]  # fmt: skip
    frame = rd.from_dict({"t": texts, "i": list(range(len(texts)))})
    # Emoji, a control and blanks are nothing: such texts are like no other.
    assert ids(frame.dedup("t", method="fuzzy")) == [0, 2, 4, 5, 6, 8, 9, 10, 11, 13, 14]
    assert ids(frame.dedup("t", method="fuzzy", normalize=None)) == [
        k for k, t in enumerate(texts) if t != "赤い箱を持ち上げてください。"
    ]
    assert ids(frame.dedup("t")) == list(range(len(texts)))


def test_categories_are_texts() -> None:
    for dtype in (pl.Categorical, pl.Enum(["Open it", "open it.", "close"])):
        frame = framed(dtype, ["Open it", "open it.", None, "close", "Open it"])
        assert ids(frame.dedup("v", method="fuzzy")) == [0, 2, 3]


# -- few rows -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["exact", "fuzzy"])
@pytest.mark.parametrize("keep", ["first", "last", "none", rd.best("q")])
def test_few_rows(method: str, keep: Any) -> None:
    schema = {"t": pl.String, "q": pl.Float64, "g": pl.Int8}
    asked: dict[str, Any] = {"method": method, "keep": keep}
    for rows in ([], [("a", 1.0, 1)], [(None, None, None)], [(None, 2.0, 1), (None, 1.0, 1), (None, NAN, 1)]):
        frame = rd.from_polars(pl.DataFrame(rows, schema=schema, orient="row"))
        for link in ("representative", "component"):
            for within in (None, "g"):
                found = frame.dedup("t", link=link, within=within, **asked).collect(engine="local")
                assert repr(found.rows()) == repr(rows)
                assert found.schema == schema
                marked = frame.clusters("t", link=link, within=within, **asked).collect(engine="local")
                assert marked["cluster_id"].to_list() == list(range(len(rows)))
                assert marked["is_kept"].to_list() == [True] * len(rows)
    empty = rd.from_polars(pl.DataFrame(schema=schema))
    assert empty.similar_pairs("t").collect(engine="local").rows() == []
    one = rd.from_dict({"t": ["a"], "q": [1.0], "g": [1]}, schema=schema)
    assert one.dedup("t", against=empty, **asked).collect(engine="local").height == 1
    assert empty.dedup("t", against=one, **asked).collect(engine="local").height == 0


def test_few_rows_on_each_engine(run, empty) -> None:
    for frame in (empty, rd.from_dict({"a": [None, None], "b": [None, ""], "f": [NAN, NAN]},
                                      schema={"a": pl.Int64, "b": pl.String, "f": pl.Float64})):  # fmt: skip
        for method in ("exact", "fuzzy"):
            assert run(frame.dedup("b", method=method, keep=rd.best("f"))).height == frame.collect().height
        assert run(frame.clusters("b", method="fuzzy")).columns[-3:] == ["cluster_id", "similarity", "is_kept"]


@pytest.mark.parametrize("method", ["fuzzy", "semantic", "phash", "trajectory"])
def test_a_column_of_no_type_has_nothing_to_compare(method: str) -> None:
    frame = framed(pl.Null, [None, None])
    assert ids(frame.dedup("v", method=method)) == ids(frame.dedup("v", method=method, against=frame)) == [0, 1]
    assert frame.similar_pairs("v", method=method).collect(engine="local").height == 0


# -- against --------------------------------------------------------------------------------------------------------

EARLIER = pl.DataFrame(
    {"t": ["open the drawer", "Open, the drawer", None, "close it"], "g": [1, 2, 1, 1], "x": [0.5] * 4}
)


def test_against_an_earlier_data_set(run, engine) -> None:
    frame = rd.from_dict({"t": ["OPEN the drawer", "pick it up", "close it", "pick it up", None], "g": [1, 1, 2, 2, 1],
                          "i": list(range(5))})  # fmt: skip
    for against in (EARLIER, EARLIER.lazy(), rd.from_polars(EARLIER))[: 3 if engine == "local" else 1]:
        exact = frame.clusters("t", against=against)
        assert run(exact).sort("i")["cluster_id"].to_list() == [0, 1, -4, 1, 4]
        for link, keep in (("representative", "first"), ("component", "last")):
            fuzzy = frame.clusters("t", method="fuzzy", against=against, link=link, keep=keep)
            mine = 1 if keep == "first" else 3
            assert run(fuzzy).sort("i")["cluster_id"].to_list() == [-1, mine, -4, mine, 4]
            kept = run(frame.dedup("t", method="fuzzy", against=against, link=link, keep=keep))
            assert kept["i"].to_list() == [mine, 4]
    assert run(frame.dedup("t", method="fuzzy", against=EARLIER, keep="none"))["i"].to_list() == [4]
    inside = run(frame.clusters("t", method="fuzzy", against=EARLIER, within="g", keep=rd.best("i"))).sort("i")
    assert inside["cluster_id"].to_list() == [-1, 1, 2, 3, 4]


def test_pairs_against_an_earlier_data_set(run) -> None:
    frame = rd.from_dict({"t": ["OPEN the drawer", "pick it up", "pick it up"]})
    found = run(frame.similar_pairs("t", against=EARLIER))
    assert found.rows() == [(-2, 0, 1.0), (-1, 0, 1.0), (1, 2, 1.0)]


def test_an_earlier_data_set_of_other_columns_is_refused() -> None:
    frame = rd.from_dict({"t": ["a"], "g": [1]})
    with pytest.raises(OptionError, match=r"against= has .*Int64.*String; cast one of them"):
        frame.dedup("t", against=pl.DataFrame({"t": [1]}))
    with pytest.raises(OptionError, match=r"against= has .*g.* as Int8, here it is Int64; cast one of them"):
        frame.dedup("t", against=EARLIER.with_columns(pl.col("g").cast(pl.Int8)), within="g")
    with pytest.raises(ColumnNotFoundError, match=r"no column 't' in dedup: against=. Columns: g, x"):
        frame.dedup("t", against=EARLIER.drop("t"))
    for wrong in ([1], "earlier.parquet", {"t": ["a"]}):
        with pytest.raises(OptionError, match=r"a frame or an rd\.DedupIndex, not .*rd\.read"):
            frame.dedup("t", against=wrong)


# -- what is left out is said ---------------------------------------------------------------------------------------


def crowded() -> rd.PipelineDataFrame:
    """100 texts that share nearly all of their words."""
    long = " ".join(f"word{k}" for k in range(100))
    return rd.from_dict({"t": [f"{long} number{k}" for k in range(100)], "i": list(range(100))})


def test_a_crowd_is_reported(run) -> None:
    df = crowded().dedup("t", method="fuzzy")
    assert df.errors.height == 0
    with pytest.warns(CappedWarning, match=r"keys are shared by more than 64 rows .*compared with the 64 best"):
        rows = run(df)
    assert rows["i"].to_list() == [0]
    assert all("more than 64 rows" in text for text in df.errors["error"])
    assert df.errors.height >= 1


def test_all_pairs_of_a_crowd_are_found() -> None:
    pairs = crowded().similar_pairs("t", threshold=0.5).collect(engine="local")
    rows = crowded().collect().height
    assert rows > 64
    assert pairs.height == rows * (rows - 1) // 2


def test_a_row_meets_the_best_of_a_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    """All are alike, and a quarter of them share each key: far behind the first 64 two of them do not meet."""
    monkeypatch.setattr(dedup_methods, "_CROWD", 64)
    frame = rd.from_dict({"t": [f"a b c d e f g x{k} y{k} z{k} u{k}" for k in range(400)]})
    pairs = frame.similar_pairs("t", shingle=rd.words(1), threshold=0.4, recall=0.9)
    with pytest.warns(CappedWarning):
        found = pairs.collect(engine="local")
    assert found["similarity"].unique().to_list() == [7 / 15]
    assert len(found) < 400 * 399 / 2
    assert pairs.errors.height == 1


# -- arguments ------------------------------------------------------------------------------------------------------

FRAME = rd.from_dict({"t": ["a"], "n": [1], "v": [[1.0, 2.0]], "b": [b"x"], "l": [["x"]], "p": [{"data": [1]}]})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "fuzy"}, OptionError, "method='fuzy'.*fuzzy.*one of exact, fuzzy, semantic, phash, trajectory"),
        ({"method": None}, OptionError, "one of exact, fuzzy"),
        ({"keep": "any"}, OptionError, r"keep='any': 'first', 'last', 'none', or rd\.best"),
        ({"keep": False}, OptionError, r"or rd\.best\(column\)"),
        ({"keep": col("n")}, OptionError, r"or rd\.best\(column\)"),
        ({"link": "chain"}, OptionError, "'representative' or 'component'"),
        ({"nulls": "drop"}, OptionError, "'keep' or 'equal'"),
        ({"method": "fuzzy", "nulls": "equal"}, OptionError, "nulls='equal' is for method='exact'"),
        ({"normalize": "nfc"}, OptionError, "'text' or None; for another, give on= an expression"),
        ({"threshold": 0.9}, OptionError, "threshold= means nothing to method='exact'"),
        ({"recall": 0.9}, OptionError, "recall= means nothing to method='exact'"),
        ({"on": "b", "method": "phash", "recall": 0.9}, OptionError, "recall= means nothing to method='phash'"),
        ({"shingle": rd.words(2)}, OptionError, "shingle= means nothing to method='exact'"),
        ({"on": "v", "method": "semantic", "shingle": rd.words(2)}, OptionError, "means nothing to method='semantic'"),
        ({"method": "fuzzy", "threshold": 0}, OptionError, "threshold=0: a number above 0 and at most 1"),
        ({"method": "fuzzy", "threshold": 80}, OptionError, "threshold=80: a number above 0 and at most 1"),
        ({"method": "fuzzy", "threshold": NAN}, OptionError, "threshold=nan"),
        ({"method": "fuzzy", "threshold": True}, OptionError, "threshold=True"),
        ({"method": "fuzzy", "threshold": "0.8"}, OptionError, "threshold='0.8'"),
        ({"method": "fuzzy", "recall": 1.5}, OptionError, "recall=1.5"),
        ({"method": "fuzzy", "recall": 1}, OptionError, "a share above 0 and below 1"),
        ({"method": "fuzzy", "threshold": 0.01}, OptionError, "give a higher threshold or less recall"),
        ({"method": "fuzzy", "shingle": 5}, OptionError, r"shingle=5: rd\.words\(n\) or rd\.chars\(n\)"),
        ({"on": None, "method": "fuzzy"}, QueryError, "compares one column; say which with on="),
        ({"on": ["t", "n"], "method": "fuzzy"}, QueryError, r"on= gives 2; join texts with rd\.concat_str"),
        ({"on": []}, QueryError, "on= names no column"),
        ({"on": "tt"}, ColumnNotFoundError, "'t'"),
        ({"on": rd.lit(1)}, QueryError, "reads no column"),
        ({"on": ["t", col("n").max()]}, QueryError, r"one row at a time; compute col\(\"n\"\)\.max\(\) with with_col"),
        ({"on": pl.col("t").str.to_uppercase()}, QueryError, "compute polars.* with with_columns first"),
        ({"on": "n", "method": "fuzzy"}, SchemaError, "compares a text, but .*n.* is Int64"),
        ({"on": "l", "method": "semantic"}, SchemaError, "a list of numbers: df.embed"),
        ({"on": "t", "method": "phash"}, SchemaError, "the bytes of an image"),
        ({"on": "p", "method": "phash"}, SchemaError, "the bytes of an image"),
        ({"on": "t", "method": "trajectory"}, SchemaError, "a list of states"),
        ({"on": "l", "method": "trajectory"}, SchemaError, "a list of states"),
        ({"within": "group"}, ColumnNotFoundError, "group"),
        ({"within": col("n") + 1}, QueryError, "within= takes column names, not the expression"),
        ({"keep": rd.best("v")}, QueryError, "which is a List.*give a number"),
        ({"keep": rd.best("none")}, ColumnNotFoundError, "none"),
    ],
)
def test_what_is_asked_wrongly_is_told(options: dict, error: type, message: str) -> None:
    for doing in ("dedup", "clusters"):
        with pytest.raises(error, match=f"(?s){message}") as caught:
            getattr(FRAME, doing)(**{"on": "t", **options})
        assert doing in str(caught.value) or message.startswith(("a share", "give", "shingle=5"))


def test_numbers_of_numpy_are_numbers() -> None:
    frame = rd.from_dict({"t": ["pick it up", "Pick it up.", "put it down"], "i": [0, 1, 2]})
    for one in (np.float32(0.5), np.float64(0.5), np.int64(1)):
        assert ids(frame.dedup("t", method="fuzzy", threshold=one)) == [0, 2]
    assert ids(frame.dedup("t", method="fuzzy", recall=np.float32(0.9))) == [0, 2]


def test_objects_of_python_are_not_compared() -> None:
    frame = rd.from_polars(pl.DataFrame({"o": pl.Series([object(), 1], dtype=pl.Object), "t": ["a", "a"]}))
    for ask in (
        lambda: frame.dedup(), lambda: frame.dedup("o"), lambda: frame.clusters(["t", "o"]),
        lambda: frame.dedup("t", within="o"), lambda: frame.dedup("t", keep=rd.best("o")),
        lambda: frame.drop_duplicates(), lambda: frame.drop_duplicates("o"),
    ):  # fmt: skip
        with pytest.raises(SchemaError, match=r"holds Python objects, which cannot be compared; cast or drop it"):
            ask()
    assert frame.drop_duplicates("t").drop("o").collect(engine="local").height == 1


def test_other_arguments() -> None:
    with pytest.raises(OptionError, match="by which column or expression"):
        rd.best()
    with pytest.raises(OptionError, match="2 values for 1 expressions"):
        rd.best("a", descending=[True, False])
    with pytest.raises(OptionError, match="descending="):
        rd.best("a", descending=[None])  # type: ignore[list-item]
    with pytest.raises(OptionError, match="use clusters"):
        FRAME.similar_pairs("t", method="exact")
    with pytest.raises(QueryError, match="a column 'cluster_id' already; rename it first"):
        FRAME.rename({"n": "cluster_id"}).clusters("t")
    for wrong in (0, 65, 2.5, True):
        with pytest.raises(OptionError, match="a whole number of 1 to 64"):
            rd.words(wrong)  # type: ignore[arg-type]
        with pytest.raises(OptionError, match="a whole number of 1 to 64"):
            rd.chars(wrong)  # type: ignore[arg-type]


def test_explain_says_what_is_compared() -> None:
    text = str(FRAME.dedup("t", method="fuzzy", within="n", keep=rd.best("n")).explain())
    assert "Dedup on t within n, keep best by" in text
    assert "jaccard of chars(5) >= 0.8, 20 bands x 7 rows, recall >= 0.9909" in text
    assert "Clusters on all columns, keep last: exact" in str(FRAME.clusters(keep="last").explain())
    assert "SimilarPairs on t" in str(FRAME.similar_pairs("t").explain())
    assert "Dedup on t, keep first: exact, each verified by value, null equals null" in str(
        FRAME.dedup("t", nulls="equal").explain()
    )
