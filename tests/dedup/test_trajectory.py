"""Trajectories: as rows of numbers, their keys, and how similar they are."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest

from robodf.dedup import dtw, motion
from robodf.dedup.trajectory import Trajectory, states
from robodf.dedup.walk import verify
from robodf.errors import OptionError, SchemaError

KINDS = ("noise", "warp", "shift", "cut")


def motions(rng: np.random.Generator, steps: int, dims: int, ways: int = 8, idle: float = 0.0) -> np.ndarray:
    """From place to place with smooth starts and stops, at times resting."""
    places = rng.uniform(-1, 1, (ways, dims))
    for i in range(1, ways):
        if rng.random() < idle:
            places[i] = places[i - 1]
    at = np.linspace(0, ways - 1, steps)
    i = np.minimum(at.astype(int), ways - 2)
    u = at - i
    return places[i] + (places[i + 1] - places[i]) * (10 * u**3 - 15 * u**4 + 6 * u**5)[:, None]


def waves(rng: np.random.Generator, steps: int, dims: int) -> np.ndarray:
    t = np.arange(steps)[:, None, None] / steps
    turns, phase, size = rng.uniform(0.5, 5, (4, dims)), rng.uniform(0, 7, (4, dims)), rng.uniform(0.3, 1, (4, dims))
    return (size * np.sin(2 * np.pi * turns * t + phase)).sum(axis=1)


def changed(rng: np.random.Generator, x: np.ndarray, kind: str) -> np.ndarray:
    """A copy as recordings have them."""
    steps = len(x)
    if kind == "noise":
        return x + rng.normal(size=x.shape) * np.ptp(x, axis=0) * 0.01
    if kind == "warp":
        at = np.linspace(0, steps - 1, round(steps * rng.uniform(0.9, 1.1)))
        return np.stack([np.interp(at, np.arange(steps), one) for one in x.T], axis=1)
    if kind == "shift":
        late = int(rng.integers(1, max(2, steps // 20)))
        return np.vstack([np.repeat(x[:1], late, axis=0), x[:-late]])
    return x[: int(steps * rng.uniform(0.6, 1))]


def column(rows: list, dtype: pl.DataType | None = None) -> pl.Series:
    values = [None if row is None else np.asarray(row).tolist() for row in rows]
    return pl.Series("trajectory", values, dtype=dtype or pl.List(pl.List(pl.Float64)))


def compared(rows: list, least: float = 0.0) -> np.ndarray:
    """The similarities of all pairs."""
    held = Trajectory().hold(iter([column(rows)]), len(rows))
    left, right = (side.ravel() for side in np.indices((len(rows), len(rows))))
    return verify(left, right, held, least).reshape(len(rows), len(rows))


def oracle(x: np.ndarray, y: np.ndarray) -> float:
    """The definition, with a table of all cells."""
    n, m = len(x), len(y)
    if x.shape[1] != y.shape[1] or 2 * min(n, m) < max(n, m):
        return -1.0
    band = max(1, math.ceil(max(n, m) / 10))
    spread = max(math.sqrt(((one - one.mean(axis=0)) ** 2).sum(axis=1).mean()) for one in (x, y))
    if spread < 1e-14:
        return float((x[0] == y[0]).all())
    table, best = {}, math.inf
    for i in range(n):
        for j in range(max(0, i - band), min(m, i + band + 1)):
            cost = float(((x[i] - y[j]) ** 2).sum())
            straight = min(table.get((i - 1, j), math.inf), table.get((i, j - 1), math.inf)) + cost
            table[i, j] = min(straight, table.get((i - 1, j - 1), 0.0 if i == j == 0 else math.inf) + 2 * cost)
            if i == n - 1 or j == m - 1:
                best = min(best, table[i, j] / (i + j + 2))
    return max(0.0, 1 - math.sqrt(best) / spread)


def some_rows() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    rows = []
    for steps, dims in [(1, 2), (2, 2), (3, 2), (9, 2), (10, 2), (11, 2), (40, 2), (45, 2), (80, 2), (41, 3), (30, 1)]:
        base = motions(rng, steps, dims)
        rows += [base, base + rng.normal(size=base.shape) * 0.05, base[: max(1, steps * 2 // 3)]]
    return rows + [np.ones((5, 2)), np.ones((9, 2)), np.full((5, 2), 2.0), np.ones((1, 2))]


def test_similarity_is_as_defined() -> None:
    rows = some_rows()
    expected = np.array([[oracle(a, b) for b in rows] for a in rows])
    found = compared(rows)
    assert (expected == -1).sum() > 100
    assert ((expected > 0) & (expected < 0.95)).sum() > 50
    assert np.allclose(found, expected, rtol=0, atol=1e-9)
    assert (np.diag(found) == 1.0).all()


def test_similarity_is_the_same_both_ways_and_for_any_least() -> None:
    rows = some_rows()
    found = compared(rows)
    assert (found == found.T).all()
    for least in (0.3, 0.8, 0.95, 1.0):
        assert (compared(rows, least) == np.where(found >= least, found, -1.0)).all()


def test_similarity_has_no_units() -> None:
    rows = some_rows()
    found, scaled = compared(rows), compared([row * 2.0**20 for row in rows])
    assert (found == scaled).all()
    assert np.allclose(compared([row + 1000 for row in rows]), found, rtol=0, atol=1e-6)


def test_other_rows_do_not_matter() -> None:
    rows = some_rows()
    everything = compared(rows)
    for i, j in [(0, 3), (9, 11), (20, 18), (33, 34)]:
        assert compared([rows[i], rows[j]])[0, 1] == everything[i, j]


def test_long_trajectories_are_compared_by_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dtw, "MOST_STEPS", 64)
    rng = np.random.default_rng(1)
    base = motions(rng, 300, 3)
    rows = [base, base[:230], base + rng.normal(size=base.shape) * 0.01, base[:65], base[:64], motions(rng, 300, 3)]
    found = compared(rows)
    assert (found == found.T).all()

    def means(x: np.ndarray, times: int) -> np.ndarray:
        size = 1 << times
        return x[: len(x) // size * size].reshape(-1, size, x.shape[1]).mean(axis=1)

    def halved(x: np.ndarray) -> int:
        return next(k for k in range(20) if len(x) >> k <= 64)

    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            times = max(halved(a), halved(b))
            if halved(a) == halved(b):
                expected = oracle(means(a, times), means(b, times))
                assert found[i, j] == pytest.approx(expected, abs=1e-9)
    assert found[0, 1] > 0.97
    assert found[0, 2] > 0.97
    assert found[3, 4] > 0.9  # 65 steps were halved, 64 were not
    assert found[0, 3] == -1
    assert found[0, 5] < 0.5


def planted(seed: int, rows: int, make: object, steps: object = 200, dims: int = 14) -> tuple[list, list, list]:
    """Trajectories and copies of them: rows, of which one each is a copy, and how it was changed."""
    rng = np.random.default_rng(seed)
    base = rows * 3 // 5
    out = [make(rng, steps if isinstance(steps, int) else int(rng.integers(*steps)), dims) for _ in range(base)]
    source, kinds = list(range(base)), ["base"] * base
    for i in range(rows - base):
        kinds.append(KINDS[i % len(KINDS)])
        source.append(i % base)
        out.append(changed(rng, out[i % base], kinds[-1]))
    return out, source, kinds


@pytest.mark.parametrize(
    ("make", "steps", "dims"),
    [
        (motions, 200, 14),
        pytest.param(lambda *a: motions(*a, idle=0.3), 200, 14, marks=pytest.mark.slow),
        (waves, 200, 7),
        (motions, (60, 900), 7),
    ],
    ids=["motions", "resting", "waves", "lengths"],
)
def test_planted_copies_are_found_and_nothing_else(make: object, steps: object, dims: int) -> None:
    rows, source, kinds = planted(2, 1000, make, steps, dims)
    method, values = Trajectory(), column(rows)
    keys = method.keys(values)
    assert keys.bands.shape == (method.bands, len(rows))
    assert keys.there.all()
    meets = np.zeros((len(rows), len(rows)), bool)
    for band in keys.bands:
        meets |= band[:, None] == band
    left, right = np.triu_indices(len(rows), 1)
    candidates = meets[left, right]
    assert candidates.mean() < 0.02
    for kind in KINDS:
        found = [meets[i, source[i]] for i in range(len(rows)) if kinds[i] == kind]
        assert np.mean(found) >= 0.97, kind
    left, right = left[candidates], right[candidates]
    held = method.hold(iter([values]), len(rows))
    alike = verify(left, right, held, method.least) >= 0
    copies = np.array(source)[left] == np.array(source)[right]
    assert not (alike & ~copies).any()  # precision 1
    direct = np.isin(right, [i for i, kind in enumerate(kinds) if kind != "base"]) & copies & (left < 600)
    assert alike[direct].mean() > 0.95


def test_keys_are_of_the_row_alone() -> None:
    rows = [*planted(3, 400, motions, (25, 90), 3)[0], *some_rows()]
    values = column(rows)
    whole, method = Trajectory().keys(values), Trajectory()
    for part in (slice(0, 1), slice(7, 300), slice(399, 420)):
        some = method.keys(values[part])
        assert (some.bands == whole.bands[:, part]).all()
        assert (some.same == whole.same[:, part]).all()
    single = column([np.float32(row) for row in rows], pl.List(pl.List(pl.Float32)))
    double = column([np.float32(row).astype(float) for row in rows])
    assert (method.keys(single).bands == method.keys(double).bands).all()
    assert (method.keys(single).same == method.keys(double).same).all()


def test_keys_have_no_units() -> None:
    rows = planted(4, 60, motions, 100, 5)[0]
    values, scaled = column(rows), column([row * 1024.0 for row in rows])
    assert (Trajectory().keys(values).bands == Trajectory().keys(scaled).bands).all()


def test_short_and_still_trajectories_do_not_all_meet() -> None:
    rng = np.random.default_rng(5)
    rows = [rng.normal(size=(int(steps), 3)) for steps in rng.integers(1, 12, 300)]
    rows += [np.repeat(rng.normal(size=(1, 3)), steps, axis=0) for steps in (1, 2, 5, 12, 40, 100) for _ in range(20)]
    bands = Trajectory().keys(column(rows)).bands
    most = max(int(np.unique(band, return_counts=True)[1].max()) for band in bands)
    assert most < 60
    still = Trajectory().keys(column([np.ones((steps, 2)) for steps in (1, 3, 50, 900)])).bands
    assert (still == still[:, :1]).all()


def test_equal_trajectories_are_the_same_and_others_are_not() -> None:
    rows = [*some_rows(), np.zeros((3, 2)), -np.zeros((3, 2)), np.zeros((2, 3)), np.zeros((6, 1))]
    same = Trajectory().keys(column(rows)).same
    assert same is not None
    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            assert (same[:, i] == same[:, j]).all() == np.array_equal(a, b)


A, B = [[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0]]
FORMS = [
    (column([A, None, B]), 2),
    (pl.Series([A, None, B], dtype=pl.List(pl.Array(pl.Float32, 2))), 2),
    (column([A, None, B]).cast(pl.List(pl.List(pl.Int16))), 2),
    (pl.Series([[{"x": x, "y": y} for x, y in row] if row else None for row in (A, None, B)]), 2),
    (pl.Series([[1.0, 2.0, 3.0, 4.0], None, [5.0, 6.0]]), 1),
]


@pytest.mark.parametrize(("values", "dims"), FORMS, ids=[str(values.dtype) for values, _ in FORMS])
def test_every_form_of_a_trajectory(values: pl.Series, dims: int) -> None:
    for part, numbers, there in ((values, 6, [True, False, True]), (values[1:], 2, [False, True])):
        found = states(part)
        assert found.there.tolist() == there
        assert found.values.tolist() == [1, 2, 3, 4, 5, 6][-numbers:]
        assert found.steps[-1] * found.dims[-1] == 2
        assert found.dims[-1] == dims
        assert found.start[-1] == numbers
    assert states(values).values.dtype == (np.float32 if "Float32" in str(values.dtype) else np.float64)


def test_arrays_of_fixed_size() -> None:
    found = states(pl.Series([A, None, A], dtype=pl.Array(pl.Array(pl.Float64, 2), 2)))
    assert found.there.tolist() == [True, False, True]
    assert found.values.tolist() == [1, 2, 3, 4] * 2
    assert states(pl.Series([[1, 2, 3]], dtype=pl.Array(pl.Int64, 3))).steps.tolist() == [3]
    assert states(pl.Series([[]], dtype=pl.List(pl.List(pl.Float64)))[:0]).start.tolist() == [0]


def test_what_has_nothing_to_compare_is_not_there() -> None:
    nan, inf = math.nan, math.inf
    rows = [
        A,
        None,
        [],
        [[]],
        [[], []],
        [[nan, 1.0]],
        [[1.0, inf]],
        [[-1e101, 1.0]],
        [[1.0, None]],
        [None, [1.0, 2.0]],
        B,
    ]
    values = pl.Series(rows, dtype=pl.List(pl.List(pl.Float64)))
    expected = [True] + [False] * 9 + [True]
    assert states(values).there.tolist() == expected
    assert Trajectory().keys(values).there.tolist() == expected
    held = Trajectory().hold(iter([values[:4], values[4:]]), len(rows))
    assert verify(np.zeros(11, np.int64), np.arange(11), held, 0.0)[1:10].tolist() == [-1.0] * 9
    structs = [[{"x": 1.0, "y": 2.0}], [{"x": 1.0, "y": None}], [None], [], None]
    assert states(pl.Series(structs)).there.tolist() == [True, False, False, False, False]
    assert states(pl.Series([[1.0], [None], [nan], [3.4e38]], dtype=pl.List(pl.Float32))).there.tolist() == [
        True, False, False, True,
    ]  # fmt: skip


def test_rows_of_other_dimensions_are_not_alike() -> None:
    rows = [np.ones((4, 2)), np.ones((4, 3)), np.ones((4, 2))]
    assert compared(rows)[0].tolist() == [1.0, -1.0, 1.0]


def test_states_of_different_lengths_are_an_error() -> None:
    with pytest.raises(SchemaError, match=r"states of 2 and of 1 numbers.*filter"):
        states(pl.Series("pose", [A, [[1.0, 2.0], [3.0]]]))


@pytest.mark.parametrize(
    "values", [[1.0], ["a"], [["a"]], [[["a"]]], [[[[1.0]]]], [[{"x": "a"}]], [{"x": 1.0}], [None]]
)
def test_other_types_are_an_error(values: list) -> None:
    with pytest.raises(SchemaError, match="a trajectory is"):
        states(pl.Series(values))


@pytest.mark.parametrize("threshold", [0.4, 0.0, -1.0, 1.01, math.nan])
def test_thresholds_that_mean_nothing(threshold: float) -> None:
    with pytest.raises(OptionError, match=r"0\.5 to 1"):
        Trajectory(threshold)


def test_pieces_and_many_dimensions() -> None:
    rng = np.random.default_rng(6)
    rows = [motions(rng, 30, 700) for _ in range(4)]
    rows += [rows[0] + 0.001, rng.normal(size=(1, 2000)), rng.normal(size=(2, 2000))]

    def pieces() -> Iterator[pl.Series]:
        for row in rows:
            yield column([row])
        yield column([])

    held = Trajectory().hold(pieces(), len(rows))
    left, right = (side.ravel() for side in np.indices((7, 7)))
    assert (verify(left, right, held, 0.0).reshape(7, 7) == compared(rows)).all()
    bands = Trajectory().keys(column(rows)).bands
    assert (bands[:, 0] == bands[:, 4]).any()
    assert not (bands[:, 5] == bands[:, 6]).any()
    empty = Trajectory().hold(iter([]), 0)
    assert verify(np.empty(0, np.int64), np.empty(0, np.int64), empty, 0.5).size == 0
    assert Trajectory.bands == motion.BANDS
