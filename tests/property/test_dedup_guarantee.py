"""What dedup promises, on random corpora and against brute force in plain Python: in memory, read twice, in parts."""

from __future__ import annotations

import itertools
import math
import random
import re
import sys
from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import robodf as rd
from robodf.config import Settings
from robodf.dedup.caps import Caps
from robodf.optimizer import IN_PARTITIONS, optimize
from robodf.physical.cut import Limits, cut
from robodf.physical.runner import Here
from robodf.physical.stages import Stages
from robodf.physical.task import Job
from robodf.plan.base import plans
from robodf.plan.nodes import dedup as dedup_node
from robodf.plan.nodes import dedup_apart
from robodf.plan.nodes.dedup import Dedup
from robodf.plan.nodes.dedup_apart import Gone, GoneInOnePlace

NAN = float("nan")

# -- corpora --------------------------------------------------------------------------------------------------------


def corpus(seed: int, rows: int = 130) -> pl.DataFrame:
    """Texts with copies that are changed a little or much; groups and ranks with ties, nulls and NaN."""
    rng = random.Random(seed)
    known = ["".join(rng.choices("abcdefghij", k=rng.randint(2, 8))) for _ in range(300)]
    texts: list[str | None] = [None, "", " .. ", None, "a"]
    while len(texts) < rows:
        source = rng.choice(texts) if rng.random() < 0.65 else None
        found = normal(source).split() if source else rng.choices(known, k=rng.choice([3, 8, 20, 40]))
        if not found:
            continue
        for _ in range(rng.choice([0, 0, 1, 2, 4]) if source else 0):
            at = rng.randrange(len(found))
            match rng.randrange(3):
                case 0:
                    found[at] = rng.choice(known)
                case 1:
                    found.insert(at, rng.choice(known))
                case _:
                    del found[at : at + (len(found) > 2)]
        cased = [w.upper() if rng.random() < 0.1 else w for w in found]
        texts.append(rng.choice([" ", "  ", ", ", "-"]).join(cased) + rng.choice(["", "", ".", "!?"]))
    rng.shuffle(texts)
    return pl.DataFrame(
        {
            "t": texts,
            "g": [rng.choice([0.0, -0.0, 1.0, NAN, None]) for _ in texts],
            "q": [rng.choice([None, NAN, *range(5)]) for _ in texts],
            "i": range(rows),
        },
        schema={"t": pl.String, "g": pl.Float64, "q": pl.Float64, "i": pl.Int64},
    )


def normal(text: str | None) -> str:
    return re.sub("[^a-z0-9_]+", " ", (text or "").lower()).strip()


def chars(n: int) -> Callable[[str], set]:
    return lambda text: {text[k : k + n] for k in range(max(len(text) - n, 0) + 1)}


def words(n: int) -> Callable[[str], set]:
    def runs(text: str) -> set:
        each = text.split()
        return {tuple(each[k : k + n]) for k in range(max(len(each) - n, 0) + 1)}

    return runs


def kind(value: Any) -> Hashable:
    """Equal for values that are one: NaN is NaN, -0.0 is 0.0, null is null."""
    if isinstance(value, float):
        return "nan" if value != value else value + 0.0
    if isinstance(value, list):
        return tuple(map(kind, value))
    if isinstance(value, dict):
        return ("of", *map(kind, value.values()))
    return (type(value).__name__, value)


Similar = dict[tuple[int, int], float]


def similar(rows: pl.DataFrame, shingles: Callable[[str], set], least: float, grouped: bool) -> Similar:
    """All pairs (a < b) that are alike and in one group."""
    sets = [shingles(normal(t)) if normal(t) else None for t in rows["t"]]
    groups = list(map(kind, rows["g"])) if grouped else [0] * len(rows)
    found = {}
    for a, b in itertools.combinations(range(len(rows)), 2):
        left, right = sets[a], sets[b]
        if left is not None and right is not None and groups[a] == groups[b]:
            jaccard = len(left & right) / len(left | right)
            if jaccard >= least:
                found[a, b] = jaccard
    return found


def worth(rows: pl.DataFrame, keep: Any) -> Callable[[int], tuple]:
    """The less, the better."""
    if keep == "last":
        return lambda k: (-k,)
    if keep in ("first", "none"):
        return lambda k: (k,)
    sign = -1 if keep.descending[0] else 1
    q = [None if v is None or v != v else v for v in rows["q"]]
    return lambda k: (q[k] is None, sign * (q[k] or 0), k)


# -- ways to run a query --------------------------------------------------------------------------------------------


def in_parts(frame: rd.PipelineDataFrame, parts: int) -> pl.DataFrame:
    """Its rows, by tasks in this process that lie in partitions from the leaves on, and after a journey by pickle."""
    limits = Limits(cpus=2, partition_bytes=400, small_bytes=0, partitions=parts)
    done = cut(optimize(frame._plan, IN_PARTITIONS), limits)
    stages = Stages(Here(travel=True), Job(Settings()))
    found = list(stages.frames(stages.parts(done.plan), done.plan.schema))
    return pl.concat(found) if found else pl.DataFrame(schema=frame.schema)


@pytest.fixture
def everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pl.DataFrame]:
    """`everywhere(rows, ask)`: the rows of `ask(frame)`, which are the same in every way of running it."""

    def check(
        rows: pl.DataFrame, ask: Callable[[rd.PipelineDataFrame], rd.PipelineDataFrame], parts: tuple = (1, 3, 8)
    ) -> pl.DataFrame:
        held = ask(rd.from_polars(rows)).collect(engine="local")
        for k in range(3):
            part = rows.slice(k * len(rows) // 3, (k + 1) * len(rows) // 3 - k * len(rows) // 3)
            part.write_parquet(tmp_path / f"{k}.parquet", row_group_size=20)
        frame = ask(rd.read_parquet(str(tmp_path / "*.parquet")))
        with monkeypatch.context() as patch:
            patch.setattr(sys.modules["robodf.optimizer.choose_rows_first"], "FEW", 0)
            dedups = [n for n in plans(optimize(frame._plan)) if isinstance(n, Dedup)]
            assert all(n.apart for n in dedups)
            assert_same(held, frame.collect(engine="local"))
            for module in (dedup_node, dedup_apart):  # other batches, other tasks
                patch.setattr(module, "_STEP", 13)
            assert_same(held, frame.collect(engine="local"))
            assert_same(held, in_parts(ask(rd.from_polars(rows)), parts[-1]))
        for count in parts:
            assert_same(held, in_parts(frame, count))
        return held

    return check


def assert_same(wanted: pl.DataFrame, found: pl.DataFrame) -> None:
    """Row by row, -0.0 and NaN too."""
    assert found.schema == wanted.schema
    assert list(map(repr, found.rows())) == list(map(repr, wanted.rows()))


# -- the promises ---------------------------------------------------------------------------------------------------


def check_representatives(rows: pl.DataFrame, found: pl.DataFrame, alike: Similar, keep: Any) -> tuple[int, int]:
    """Of clusters; how many rows stay though they should have gone, of how many that went or should have."""
    rank = worth(rows, keep)
    kept = found["is_kept"].to_list()
    goes = 0
    for k, (witness, similarity) in enumerate(found.select("cluster_id", "similarity").iter_rows()):
        if kept[k]:
            assert (witness, similarity) == (k, None)
            continue
        goes += 1
        assert kept[witness]
        assert rank(witness) < rank(k)
        assert similarity == alike[min(k, witness), max(k, witness)]
    missed = {b if rank(a) < rank(b) else a for a, b in alike if kept[a] and kept[b]}
    return len(missed), goes + len(missed)


def check_components(rows: pl.DataFrame, found: pl.DataFrame, alike: Similar, keep: Any) -> None:
    rank = worth(rows, keep)
    above = list(range(len(rows)))

    def root(k: int) -> int:
        while above[k] != k:
            k = above[k]
        return k

    for a, b in alike:
        above[root(a)] = root(b)
    cluster = found["cluster_id"].to_list()
    for k, (kept, similarity) in enumerate(found.select("is_kept", "similarity").iter_rows()):
        best = cluster[k]
        assert cluster[best] == best
        assert root(best) == root(k)
        assert rank(best) <= rank(k)
        assert kept == (best == k)
        own = [s for pair, s in alike.items() if k in pair]
        assert similarity is None if kept else similarity in own


def check_none(found: pl.DataFrame, alike: Similar) -> None:
    for k, (witness, kept, similarity) in enumerate(found.select("cluster_id", "is_kept", "similarity").iter_rows()):
        if kept:
            assert (witness, similarity) == (k, None)
        else:
            assert similarity in [s for pair, s in alike.items() if k in pair]
            assert witness == k or (min(k, witness), max(k, witness)) in alike


FUZZY: list[tuple[dict[str, Any], Callable[[str], set]]] = [
    ({"threshold": 0.7}, chars(5)),
    ({"threshold": 0.5, "shingle": rd.words(1)}, words(1)),
    ({"threshold": 0.8, "shingle": rd.chars(2), "recall": 0.999}, chars(2)),
]
LONG = partial(pytest.param, marks=pytest.mark.slow)
KEEPS = ["first", "last", rd.best("q"), rd.best("q", descending=False)]


@pytest.mark.filterwarnings("ignore::robodf.dedup.caps.CappedWarning")
@pytest.mark.parametrize(("number", "seed", "grouped"), [(0, 1, False), (1, 2, True), LONG(2, 3, False)])
def test_each_row_that_goes_has_a_better_one_like_it(everywhere, number: int, seed: int, grouped: bool) -> None:
    options, shingles = FUZZY[number]
    within = "g" if grouped else None
    rows = corpus(seed)
    alike = similar(rows, shingles, options["threshold"], grouped)
    missed = all_ = 0
    for keep in KEEPS[(seed + grouped) % 4 :: 2]:
        asked = {"method": "fuzzy", "keep": keep, "within": within, **options}
        found = everywhere(rows, lambda df: df.clusters("t", **asked), parts=(3,))  # noqa: B023
        some, of = check_representatives(rows, found, alike, keep)
        missed, all_ = missed + some, all_ + of
        assert_same(found.select(rows.columns), rows)
        dedup = rd.from_polars(rows).dedup("t", **asked)
        for stays in (dedup.collect(engine="local"), in_parts(dedup, 1), in_parts(dedup, 8)):
            assert_same(stays, found.filter("is_kept").select(rows.columns))
    assert all_ > 20
    assert missed <= _most_missed(all_, options.get("recall", 0.99))


@pytest.mark.filterwarnings("ignore::robodf.dedup.caps.CappedWarning")
@pytest.mark.parametrize("number", [0, *map(LONG, range(1, len(FUZZY)))])
def test_components_and_none(everywhere, number: int) -> None:
    options, shingles = FUZZY[number]
    rows = corpus(10 + number)
    alike = similar(rows, shingles, options["threshold"], False)
    asked = {"method": "fuzzy", **options}
    keep = rd.best("q") if number else "last"
    found = everywhere(rows, lambda df: df.clusters("t", link="component", keep=keep, **asked), parts=(3,))
    check_components(rows, found, alike, keep)
    found = everywhere(rows, lambda df: df.clusters("t", keep="none", **asked), parts=(8,))
    check_none(found, alike)
    none = rd.from_polars(rows).dedup("t", keep="none", **asked)
    assert_same(in_parts(none, 3), found.filter("is_kept").select(rows.columns))
    assert_same(none.collect(engine="local"), found.filter("is_kept").select(rows.columns))


@pytest.mark.filterwarnings("ignore::robodf.dedup.caps.CappedWarning")
@pytest.mark.parametrize("link", ["representative", "component"])
def test_rows_of_an_earlier_data_set_are_better_than_all(everywhere, link: str) -> None:
    rows, earlier = corpus(20), corpus(20, 60).with_columns(pl.col("g").reverse())
    both = pl.concat([earlier, rows])
    fixed = len(earlier)
    alike = similar(both, chars(5), 0.7, True)
    for keep in ("first", rd.best("q")):
        asked = {"method": "fuzzy", "threshold": 0.7, "keep": keep, "within": "g", "link": link}
        found = everywhere(rows, lambda df: df.clusters("t", against=earlier, **asked), parts=(3,))  # noqa: B023
        cluster = [c + fixed if c >= 0 else -1 - c for c in found["cluster_id"]]
        known = sum(c < fixed for c in cluster)
        assert known > 10
        rank = worth(both, keep)
        better = lambda k: (k >= fixed, k if k < fixed else rank(k))  # noqa: E731, B023
        for k, (witness, kept, similarity) in enumerate(zip(cluster, found["is_kept"], found["similarity"]), fixed):
            assert kept == (witness == k)
            if not kept:
                assert better(witness) < better(k)
                if link == "representative":
                    assert witness < fixed or found["is_kept"][witness - fixed]
                    assert similarity == alike[min(k, witness), max(k, witness)]
                else:
                    assert similarity in [s for pair, s in alike.items() if k in pair]


def _most_missed(of: int, recall: float) -> float:
    """Four standard deviations above what is expected at the threshold itself, where most are missed."""
    return of * (1 - recall) + 4 * math.sqrt(of * recall * (1 - recall)) + 1


@pytest.mark.filterwarnings("ignore::robodf.dedup.caps.CappedWarning")
@pytest.mark.parametrize("number", range(len(FUZZY)))
def test_as_many_pairs_are_found_as_is_promised(number: int) -> None:
    options, shingles = FUZZY[number]
    found = wanted = close = close_found = 0
    for seed in range(30, 35):
        rows = corpus(seed, 220)
        alike = similar(rows, shingles, options["threshold"], False)
        pairs = rd.from_polars(rows).similar_pairs("t", **options).collect(engine="local")
        mine = {(lo, hi): s for lo, hi, s in pairs.iter_rows()}
        assert mine.items() <= alike.items()
        found, wanted = found + len(mine), wanted + len(alike)
        hard = {p for p, s in alike.items() if s < options["threshold"] + 0.1}
        close, close_found = close + len(hard), close_found + len(hard & mine.keys())
    recall = options.get("recall", 0.99)
    assert wanted > 500
    assert close > 50
    assert wanted - found <= _most_missed(wanted, recall)
    assert close - close_found <= _most_missed(close, recall)


def test_pairs_are_the_same_in_every_way(everywhere) -> None:
    rows = corpus(40)
    found = everywhere(rows, lambda df: df.similar_pairs("t", threshold=0.6, within="g"), parts=(1, 3))
    mine = {(lo, hi): s for lo, hi, s in found.iter_rows()}
    assert mine.items() <= similar(rows, chars(5), 0.6, True).items()
    earlier = corpus(40, 70)
    both = similar(pl.concat([earlier, rows]), words(1), 0.6, False)
    wanted = {(a - 70 if a >= 70 else -1 - a, b - 70): s for (a, b), s in both.items() if b >= 70}
    asked = {"threshold": 0.6, "shingle": rd.words(1), "against": earlier}
    found = everywhere(rows, lambda df: df.similar_pairs("t", **asked), parts=(3,))
    mine = {(lo, hi): s for lo, hi, s in found.iter_rows()}
    assert mine.items() <= wanted.items()
    assert len(wanted) - len(mine) <= _most_missed(len(wanted), 0.99)
    assert sum(lo < 0 for lo, _ in mine) > 30


# -- exact ----------------------------------------------------------------------------------------------------------

TYPES: list[pl.DataType] = [
    pl.Float64(),
    pl.String(),
    pl.List(pl.Float64),
    pl.Array(pl.Float32, 2),
    pl.Struct({"a": pl.Float64, "b": pl.List(pl.String)}),
    pl.List(pl.Struct({"a": pl.Array(pl.Int64, 1), "b": pl.Boolean})),
]


def some(rng: random.Random, dtype: Any) -> Any:
    if rng.random() < 0.2:
        return None
    if isinstance(dtype, pl.List):
        return [some(rng, dtype.inner) for _ in range(rng.randint(0, 2))]
    if isinstance(dtype, pl.Array):
        return [some(rng, dtype.inner) for _ in range(dtype.size)]
    if isinstance(dtype, pl.Struct):
        return {f.name: some(rng, f.dtype) for f in dtype.fields}
    if dtype.is_float():
        return rng.choice([0.0, -0.0, NAN, 1.5])
    return (
        rng.choice(["", "a", "ä", "b"])
        if dtype == pl.String
        else rng.choice([True, False])
        if dtype == pl.Boolean
        else rng.randint(0, 2)
    )


def _empty(value: Any) -> bool:
    return all(map(_empty, value.values())) if isinstance(value, dict) else value in (None, "", [])


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_equal_values_are_those_of_python(everywhere, dtype: pl.DataType) -> None:
    rng = random.Random(str(dtype))
    values = [some(rng, dtype) for _ in range(90)]
    other = [rng.choice([None, NAN, 0.0, -0.0]) for _ in values]
    rows = pl.DataFrame({"v": pl.Series(values, dtype=dtype), "g": pl.Series(other, dtype=pl.Float64),
                         "q": pl.Series([rng.choice([None, NAN, 1.0, 2.0]) for _ in values], dtype=pl.Float64),
                         "i": range(90)})  # fmt: skip
    for keep, nulls, on, within in (
        ("first", "keep", "v", None),
        ("last", "equal", "v", "g"),
        ("none", "keep", ["v", "g"], None),
        (rd.best("q"), "keep", "v", "g"),
    ):
        found = everywhere(rows, lambda df: df.dedup(on, keep=keep, nulls=nulls, within=within), parts=(3,))  # noqa: B023
        kinds: dict[Hashable, list[int]] = {}
        for k, (value, by) in enumerate(zip(values, other)):
            lone = nulls == "keep" and _empty(value) and (on == "v" or by is None)
            same = (k,) if lone else (kind(value), kind(by) if within or on != "v" else 0)
            kinds.setdefault(same, []).append(k)
        rank = worth(rows, keep)
        wanted = sorted(min(ks, key=rank) for ks in kinds.values() if keep != "none" or len(ks) == 1)
        assert found["i"].to_list() == wanted


def test_exact_clusters_in_every_way(everywhere) -> None:
    rows = corpus(50, 240)
    for options in ({"keep": rd.best("q")}, {"keep": "none"}, {"link": "component", "keep": "last"},
                    {"nulls": "equal", "within": "g"}, {"against": corpus(50, 80)}):  # fmt: skip
        found = everywhere(rows, lambda df: df.clusters("t", **options), parts=(3,))  # noqa: B023
        goes = found.filter(~pl.col("is_kept"))
        assert len(goes) > 3
        assert goes["similarity"].unique().to_list() == [1.0]
        for witness, text in goes.select("cluster_id", "t").iter_rows():
            assert text == (rows["t"][witness] if witness >= 0 else options["against"]["t"][-1 - witness])


def test_the_plans_are_taken_apart() -> None:
    """The tests above in partitions look at what they say they do."""
    limits = Limits(cpus=2, partition_bytes=400, small_bytes=0, partitions=3)
    frame = rd.from_polars(corpus(1))
    for options, node in (({"method": "fuzzy"}, Gone), ({"keep": rd.best("q")}, Gone)):
        done = cut(optimize(frame.dedup("t", **options)._plan, IN_PARTITIONS), limits)
        assert any(isinstance(n, node) for n in plans(done.plan))
        assert not any(isinstance(n, (Dedup, GoneInOnePlace)) for n in plans(done.plan))


@pytest.mark.filterwarnings("ignore::robodf.dedup.caps.CappedWarning")
def test_a_cap_is_the_same_in_partitions() -> None:
    """Of a key with many rows only the best few are compared with: which these are depends on the rows alone."""
    told = 0
    for seed in range(60, 65):
        rng = random.Random(seed)
        rows, earlier = corpus(seed, 100), rng.choice([None, corpus(seed, 30)])
        frame = rd.from_polars(rows).clusters(
            "t", method="fuzzy", shingle=rd.words(1), threshold=0.3, recall=0.5, against=earlier,
            keep=rng.choice(["first", "last", "none", rd.best("q")]), within=rng.choice([None, "g"]),
            link=rng.choice(["representative", "component"]),
        )  # fmt: skip
        node = frame._plan
        assert isinstance(node, Dedup)
        for cap in (1, 3):
            how = replace(node.how, method=replace(node.how.method, cap=cap))
            capped = rd.PipelineDataFrame(node.replace(how=how, caps=Caps()))
            found = capped.collect(engine="local")
            assert_same(found, in_parts(capped, 3))
            assert capped.errors["error"].str.contains(f"shared by more than {cap} rows").all()
            told += capped.errors.height
    assert told > 5


# -- other methods --------------------------------------------------------------------------------------------------


def all_pairs(values: list, similarity: Callable[[Any, Any], float], least: float) -> Similar:
    found = {}
    for a, b in itertools.combinations(range(len(values)), 2):
        if values[a] is None or values[b] is None:
            continue
        alike = similarity(values[a], values[b])
        if alike >= least:
            found[a, b] = alike
    return found


def hashes(rng: random.Random, rows: int) -> tuple[pl.Series, list]:
    made: list[int | None] = [None, 0, 2**64 - 1]
    while len(made) < rows:
        value = rng.choice([m for m in made if m is not None]) if rng.random() < 0.7 else rng.getrandbits(64)
        for _ in range(rng.choice([0, 1, 3, 6, 9])):
            value ^= 1 << rng.randrange(64)
        made.append(value)
    rng.shuffle(made)
    return pl.Series(made, dtype=pl.UInt64), made


def vectors(rng: random.Random, rows: int) -> tuple[pl.Series, list]:
    made: list[list[float] | None] = [None, [0.0] * 8, [NAN] * 8, [1.0] + [0.0] * 7]
    while len(made) < rows:
        some = [m for m in made if m is not None and m[0] == m[0]]
        value = rng.choice(some) if rng.random() < 0.7 else [rng.gauss(0, 1) for _ in range(8)]
        scale, noise = rng.choice([1.0, 3.0]), rng.choice([0.0, 0.1, 0.3])
        made.append([scale * (v + rng.gauss(0, noise)) for v in value])
    rng.shuffle(made)
    known = [None if m is None or m[0] != m[0] or not any(m) else m for m in made]
    return pl.Series(made, dtype=pl.List(pl.Float64)), known


def trajectories(rng: random.Random, rows: int) -> tuple[pl.Series, list]:
    made: list[list[list[float]] | None] = [None, []]
    while len(made) < rows:
        some = [m for m in made if m]
        if some and rng.random() < 0.6:
            value = rng.choice(some)
            value = value[: round(len(value) * rng.choice([1.0, 1.0, 0.8]))]
            noise = rng.choice([0.0, 0.005, 0.03])
            value = [[v + rng.gauss(0, noise) for v in state] for state in value]
        else:
            turns = [(rng.uniform(0.5, 3), rng.uniform(0, 6), rng.uniform(0.4, 1)) for _ in range(4)]
            steps = rng.randint(60, 80)
            value = [
                [sum(c * math.sin(a * k / steps * 6 + b) for a, b, c in turns[d : d + 2]) for d in range(3)]
                for k in range(steps)
            ]
        made.append(value)
    rng.shuffle(made)
    return pl.Series(made, dtype=pl.List(pl.List(pl.Float64))), [m or None for m in made]


def cosine(a: list[float], b: list[float]) -> float:
    return sum(map(lambda x, y: x * y, a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def aligned(a: list[list[float]], b: list[list[float]]) -> float:
    """Dynamic time warping as it is stated in `dtw`."""
    x, y = (a, b) if len(a) >= len(b) else (b, a)
    n, m = len(x), len(y)
    if 2 * m < n:
        return -1.0
    radius = max(1, n // 10)
    sums: dict[tuple[int, int], float] = {}
    best = math.inf
    for i in range(n):
        for j in range(max(0, i - radius), min(m, i + radius + 1)):
            cost = sum((p - q) ** 2 for p, q in zip(x[i], y[j]))
            ways = [sums.get((i - 1, j), math.inf) + cost, sums.get((i, j - 1), math.inf) + cost,
                    sums.get((i - 1, j - 1), math.inf) + 2 * cost]  # fmt: skip
            sums[i, j] = 2 * cost if i == j == 0 else min(ways)
            if i == n - 1 or j == m - 1:
                best = min(best, sums[i, j] / (i + j + 2))

    def spread(z: list[list[float]]) -> float:
        means = [sum(column) / len(z) for column in zip(*z)]
        return math.sqrt(sum((v - c) ** 2 for state in z for v, c in zip(state, means)) / len(z))

    return max(0.0, 1 - math.sqrt(best) / max(spread(x), spread(y)))


OTHERS: dict[str, tuple] = {
    "phash": (hashes, lambda a, b: 1 - (a ^ b).bit_count() / 64, 0.9, 150, 1.0),
    "semantic": (vectors, cosine, 0.93, 120, 1.0),
    "trajectory": (trajectories, aligned, 0.95, 28, 0.9),
}


@pytest.mark.parametrize("method", OTHERS)
def test_the_promises_of_other_methods(everywhere, method: str) -> None:
    make, similarity, least, count, recall = OTHERS[method]
    rng = random.Random(71)
    column, values = make(rng, count)
    rows = corpus(71, count).select(v=column, g="g", q="q", i="i")
    whole = all_pairs(values, similarity, least - 1e-5)
    groups = list(map(kind, rows["g"]))
    missed = all_ = 0
    for keep, within in (("first", None), (rd.best("q"), "g")):
        asked = {"method": method, "threshold": least, "keep": keep, "within": within}
        alike = {(a, b): s for (a, b), s in whole.items() if not within or groups[a] == groups[b]}
        found = everywhere(rows, lambda df: df.clusters("v", **asked), parts=(3, 8))  # noqa: B023
        rank = worth(rows, keep)
        kept = found["is_kept"].to_list()
        for k, (witness, near) in enumerate(found.select("cluster_id", "similarity").iter_rows()):
            if kept[k]:
                assert (witness, near) == (k, None)
            else:
                assert kept[witness]
                assert rank(witness) < rank(k)
                assert near >= least
                assert near == pytest.approx(alike[min(k, witness), max(k, witness)], abs=1e-5)
        sure = {pair for pair, s in alike.items() if s > least + 1e-5}
        missed += len({max(pair, key=rank) for pair in sure if kept[pair[0]] and kept[pair[1]]})
        all_ += kept.count(False)
        dedup = rd.from_polars(rows).dedup("v", **asked)
        assert_same(dedup.collect(engine="local"), found.filter("is_kept").select(rows.columns))
        assert_same(in_parts(dedup, 8), found.filter("is_kept").select(rows.columns))
    assert all_ > count // 3
    assert missed <= (_most_missed(all_, recall) if recall < 1 else 0)


@pytest.mark.parametrize("method", OTHERS)
def test_pairs_components_and_earlier_rows_of_other_methods(everywhere, method: str) -> None:
    make, similarity, least, count, recall = OTHERS[method]
    rng = random.Random(80)
    column, values = make(rng, count)
    rows = corpus(80, count).select(v=column, g="g", q="q", i="i")
    fixed = count // 4
    earlier, own = rows.head(fixed), rows.slice(fixed).with_columns(i=pl.col("i") - fixed)
    asked = {"method": method, "threshold": least}
    alike = all_pairs(values, similarity, least - 1e-5)
    found = everywhere(own, lambda df: df.similar_pairs("v", against=earlier, **asked), parts=(3, 8))
    mine = {(lo + fixed if lo >= 0 else -1 - lo, hi + fixed): s for lo, hi, s in found.iter_rows()}
    assert len(mine) == found.height
    for pair, s in mine.items():
        assert s == pytest.approx(alike[pair], abs=1e-5)
    sure = {pair for pair, s in alike.items() if s > least + 1e-5 and pair[1] >= fixed}
    assert len(sure - mine.keys()) <= (_most_missed(len(sure), recall) if recall < 1 else 0)
    assert any(pair[0] < fixed for pair in mine)
    for keep, link in (("last", "component"), ("none", "representative"), ("first", "representative")):
        all_asked = {"against": earlier, "keep": keep, "link": link, **asked}
        clusters = everywhere(own, lambda df: df.clusters("v", **all_asked), parts=(3, 8))  # noqa: B023
        near = {k for pair in mine for k in pair if k >= fixed}
        before = {b for a, b in mine if a < fixed}
        goes = set((clusters.filter(~pl.col("is_kept"))["i"] + fixed).to_list())
        assert before <= goes <= near
        assert goes == near if keep == "none" else goes != near
        assert clusters.filter(~pl.col("is_kept"))["similarity"].min() >= least
