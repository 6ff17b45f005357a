"""Who is alike among vectors, by products of blocks.

Rows meet in *lists*: each row is in the same number of them, and two rows are compared where they share one. For an
exact search the list is the group; `centroids.py` makes overlapping lists of what is near.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from robodf.dedup.compiled import in_ranges
from robodf.dedup.cosine import (
    alike,
    alike_listed,
    alike_small,
    count_all_near,
    first_found,
    first_listed,
    keep,
    settle,
    walk_small,
)
from robodf.dedup.sketch import Sketch, sketch, whole
from robodf.dedup.vectors import Vectors
from robodf.gpu import kernels

_ROWS = 1024
_COLUMNS = 2048
"""A block of products is 8 MiB at most: it is looked through where the processor has just left it, in its cache."""

_SMALL = 64
"""Lists of so few rows are compared pair by pair: a block costs more to prepare."""

_PAIRS = 1 << 20
"""Pairs of small lists that are compared before what was found is handed on: 24 MiB."""


class Pairs(NamedTuple):
    """Pairs of rows that are alike: `left` < `right`, int64, and their cosines, float64."""

    left: np.ndarray
    right: np.ndarray
    similarity: np.ndarray


class Settled(NamedTuple):
    """What the keep rule says of each row: who stands for it (itself: it is kept) and their cosine."""

    witness: np.ndarray
    similarity: np.ndarray


def greedy(
    vectors: Vectors,
    order: np.ndarray,
    lists: np.ndarray,
    least: float,
    always: np.ndarray | None = None,
    rows_at_once: int | None = None,
) -> Settled:
    """The keep rule, walked: only rows that are kept are compared with later ones, so copies make it faster.

    `order` has the rows that are compared, the best first; `lists` is (n, m) whole numbers from 0 on; rows of `always`
    (n,) are kept whatever they are like. The answer does not depend on `rows_at_once`, which is for memory and speed.
    """
    n = len(vectors.unit)
    always = np.zeros(n, bool) if always is None else always
    witness, similarity = np.arange(n), np.ones(n)
    if lists.shape[1] == 1:  # groups are walked one after the other: each block of rows is then of few of them
        order = order[np.argsort(lists[order, 0], kind="stable")]
    walk = _Walk(vectors, order, lists, least, always)
    rows_at_once = rows_at_once or (_ROWS if walk.device is None else walk.device.rows)
    for first, end in walk.small() if lists.shape[1] == 1 else [(0, len(order))]:
        for start in range(first, end, rows_at_once):
            walk.block(start, min(start + rows_at_once, end))
    (dropped,) = np.nonzero(walk.best < len(order))
    witness[order[dropped]] = order[walk.best[dropped]]
    similarity[order[dropped]] = walk.found[dropped]
    return Settled(witness, similarity)


class _Walk:
    """Rows are numbered here by their place in the order; `best` is the place of who stands for a row, or nobody's."""

    def __init__(self, vectors: Vectors, order: np.ndarray, lists: np.ndarray, least: float, always: np.ndarray):
        self.vectors, self.order, self.least = vectors, order, least
        self.always = always[order]
        self.lists, self.start = _numbered(lists[order])
        self.best = np.full(len(order), len(order))
        self.found = np.ones(len(order))
        self.device = kernels.multiplier(vectors.unit, _work(self.start, vectors))
        self.sketch: Sketch = sketch(vectors, least) if self.device is None else whole(vectors, least)
        self.kept = np.empty(self.start[-1], np.int64)
        self.fill = self.start[:-1].copy()

    def small(self) -> list[tuple[int, int]]:
        """Settles the small groups, which lie one after the other in the order; the ranges of large ones."""
        sizes = np.diff(self.start)
        (few,) = np.nonzero(sizes <= _SMALL)
        starts, ends = self.start[few], self.start[few + 1]
        v = self.vectors
        in_ranges(
            len(few),
            lambda a, b: walk_small(
                starts[a:b], ends[a:b], self.order, self.always, v.unit, v.square, self.least, self.best, self.found
            ),
            least=256,
        )
        (many,) = np.nonzero(sizes > _SMALL)
        ranges: list[tuple[int, int]] = []
        for first, end in zip(self.start[many].tolist(), self.start[many + 1].tolist()):
            if ranges and ranges[-1][1] == first and end - ranges[-1][0] <= _ROWS:
                ranges[-1] = (ranges[-1][0], end)
            else:
                ranges.append((first, end))
        return ranges

    def block(self, first: int, end: int) -> None:
        """Settles the rows of one block: against what was kept before it, then among themselves."""
        asked = np.arange(first, end)[~self.always[first:end]]
        for here, who in _by_list(self.lists, asked):
            self._against(who, self.kept[self.start[here] : self.fill[here]])
        still = np.arange(first, end)
        still = still[self.best[still] == len(self.order)]
        found = [self._among(here, who) for here, who in _by_list(self.lists, still) if len(who) > 1]
        if found:
            earlier, later, cosines = (np.concatenate(part) for part in zip(*found))
            by = np.lexsort((earlier, later))
            settle(later[by], earlier[by], cosines[by], self.best, self.found)
        keep(first, end, self.best, self.lists, self.kept, self.fill)

    def _against(self, who: np.ndarray, kept: np.ndarray) -> None:
        rows, floor = self.sketch
        if self.device is not None:
            self._against_listed(who, kept)
            return
        mine = rows[self.order[who]]
        for start in range(0, len(kept), _COLUMNS):
            columns = kept[start : start + _COLUMNS]
            products = mine @ rows[self.order[columns]].T
            _in_rows(
                products,
                lambda a, b, p=products, w=who, c=columns: first_found(
                    p[a:b], floor, w[a:b], c, self.order, self.vectors.unit, self.vectors.square, self.least,
                    self.best, self.found,
                ),
            )  # fmt: skip
            open_still = self.best[who] > columns[-1]
            if not open_still.all():
                who, mine = who[open_still], mine[open_still]
            if not len(who):
                return

    def _against_listed(self, who: np.ndarray, kept: np.ndarray) -> None:
        """The same with what the device finds worth a look."""
        assert self.device is not None
        v = self.vectors
        step = self.device.columns
        for first in range(0, len(kept), step):
            columns = kept[first : first + step]
            i, j = self.device.near(self.order[who], self.order[columns], self.sketch.floor)
            starts = np.searchsorted(i, np.arange(len(who) + 1))
            in_ranges(
                len(who),
                lambda a, b, s=starts, j=j, w=who, c=columns: first_listed(
                    s[a : b + 1], j, w[a:b], c, self.order, v.unit, v.square, self.least, self.best, self.found
                ),
                least=256,
            )
            who = who[self.best[who] > columns[-1]]
            if not len(who):
                return

    def _among(self, here: int, who: np.ndarray) -> Pairs:
        rows, floor = self.sketch
        if self.device is not None:
            listed = self.device.near(self.order[who], self.order[who], floor)
            return _alike_listed(listed, who, who, self.order, self.lists, here, self.always, self.vectors, self.least)
        mine = rows[self.order[who]]
        return _alike(
            mine @ mine.T, floor, who, who, self.order, self.lists, here, self.always, self.vectors, self.least
        )


def near(
    vectors: Vectors,
    rows: np.ndarray,
    lists: np.ndarray,
    least: float,
    always: np.ndarray | None = None,
    sketched: Sketch | None = None,
) -> Iterator[Pairs]:
    """All pairs (left, right) that are alike, of which `right` is one of `rows` and `left` any row before it.

    So pieces of the rows, each asked with all vectors, give each pair once. `lists` is (n, m) whole numbers from 0 on;
    a pair of which both are in `always` is left out. Yields what one block found, in no order that means anything.
    """
    n = len(vectors.unit)
    always = np.zeros(n, bool) if always is None else always
    (there,) = np.nonzero(vectors.there)
    dense, start = _numbered(lists[there])
    device = kernels.multiplier(vectors.unit, _work(start, vectors) * min(1.0, 2 * len(rows) / max(n, 1)))
    made = whole(vectors, least) if device is not None else sketched or sketch(vectors, least)
    numbered = np.full((n, lists.shape[1]), -1)
    numbered[there] = dense
    members = there[np.argsort(dense.ravel(), kind="stable") // lists.shape[1]]
    asked = np.zeros(n, bool)
    asked[rows] = True
    asked &= vectors.there
    sizes = np.diff(start)
    if lists.shape[1] == 1:
        yield from _near_small(vectors, start, sizes <= _SMALL, members, asked, always, least)
        sizes[sizes <= _SMALL] = 0
    everyone = np.arange(n)
    for here in np.nonzero(sizes > 1)[0].tolist():
        of_list = members[start[here] : start[here + 1]]
        who = of_list[asked[of_list]]
        step = _ROWS if device is None else device.rows
        for first in range(0, len(who), step):
            some = who[first : first + step]
            before = of_list[: np.searchsorted(of_list, some[-1])]
            if device is not None:
                for columns in np.split(before, range(device.columns, len(before), device.columns)):
                    listed = device.near(some, columns, made.floor)
                    yield _alike_listed(listed, some, columns, everyone, numbered, here, always, vectors, least)
                continue
            mine = made.rows[some]
            for begin in range(0, len(before), _COLUMNS):
                columns = before[begin : begin + _COLUMNS]
                yield _alike(
                    mine @ made.rows[columns].T, made.floor, some, columns, everyone, numbered, here, always, vectors,
                    least,
                )  # fmt: skip


def _near_small(
    vectors: Vectors,
    start: np.ndarray,
    small: np.ndarray,
    members: np.ndarray,
    asked: np.ndarray,
    always: np.ndarray,
    least: float,
) -> Iterator[Pairs]:
    (few,) = np.nonzero(small)
    step = _PAIRS // _SMALL**2
    for first in range(0, len(few), step):
        some = few[first : first + step]
        sizes = start[some + 1] - start[some]
        room = int((sizes * (sizes - 1) // 2).sum())
        later, earlier, found = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room)
        count = alike_small(
            start[some], start[some + 1], members, asked, always, vectors.unit, vectors.square, least, later, earlier,
            found,
        )  # fmt: skip
        yield Pairs(earlier[:count], later[:count], found[:count])


def all_pairs(vectors: Vectors, lists: np.ndarray, least: float, always: np.ndarray | None = None) -> Pairs:
    """All pairs that are alike, sorted by (left, right)."""
    found = list(near(vectors, np.arange(len(vectors.unit)), lists, least, always))
    if not found:
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    left, right, cosines = (np.concatenate(part) for part in zip(*found))
    by = np.lexsort((right, left))
    return Pairs(left[by], right[by], cosines[by])


def _alike(
    products: np.ndarray,
    floor: np.float32,
    who: np.ndarray,
    columns: np.ndarray,
    order: np.ndarray,
    lists: np.ndarray,
    here: int,
    always: np.ndarray,
    vectors: Vectors,
    least: float,
) -> Pairs:
    def run(a: int, b: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        room = count_all_near(products[a:b], floor)
        later, earlier, found = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room)
        if room:
            room = alike(
                products[a:b], floor, who[a:b], columns, order, lists, here, always, vectors.unit, vectors.square,
                least, later, earlier, found,
            )  # fmt: skip
        return earlier[:room], later[:room], found[:room]

    parts = _in_rows(products, run)
    return Pairs(*(np.concatenate(part) for part in zip(*parts)))


def _alike_listed(
    listed: tuple[np.ndarray, np.ndarray],
    who: np.ndarray,
    columns: np.ndarray,
    order: np.ndarray,
    lists: np.ndarray,
    here: int,
    always: np.ndarray,
    vectors: Vectors,
    least: float,
) -> Pairs:
    """As `_alike`, of pairs that were listed as worth a look."""
    i, j = listed

    def run(a: int, b: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        later, earlier, found = np.empty(b - a, np.int64), np.empty(b - a, np.int64), np.empty(b - a)
        count = alike_listed(
            i[a:b], j[a:b], who, columns, order, lists, here, always, vectors.unit, vectors.square, least, later,
            earlier, found,
        )  # fmt: skip
        return earlier[:count], later[:count], found[:count]

    none = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    return Pairs(*(np.concatenate(part) for part in zip(none, *in_ranges(len(i), run, least=1 << 14))))


def _work(start: np.ndarray, vectors: Vectors) -> float:
    """Multiplications and additions of all pairs of the lists that start there."""
    sizes = np.diff(start).astype(np.float64)
    return float((sizes * sizes).sum()) / 2 * vectors.unit.shape[1]


def _in_rows(products: np.ndarray, run):
    """`run` on ranges of the rows of a block, in threads where it is large."""
    return in_ranges(len(products), run, least=max(1, (1 << 19) // max(1, products.shape[1])))


def _numbered(lists: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lists numbered from 0 without gaps, and where each would start if all members lay one after the other."""
    _, dense, counts = np.unique(lists, return_inverse=True, return_counts=True)
    return dense.reshape(lists.shape).astype(np.int64), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _by_list(lists: np.ndarray, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Each list that some of the rows are in, with these rows in their order."""
    of = lists[rows].ravel()
    by = np.argsort(of, kind="stable")
    cuts = np.nonzero(np.diff(of[by]))[0] + 1
    for places in np.split(by, cuts):
        if len(places):
            yield int(of[places[0]]), rows[places // lists.shape[1]]
