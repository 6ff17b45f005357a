"""For each time of the clock the sample before it, the sample after it, and how far they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from robodf.align.keys import Groups, Parts
from robodf.align.way import Way

_LONGEST = np.uint64((1 << 63) - 1)


@dataclass(frozen=True)
class Track:
    """The times of a stream's samples, sorted in each group; samples without a time are left out."""

    times: np.ndarray  # int64
    rows: np.ndarray | None  # the row of the frame that each comes from; None: the same
    parts: dict[int, tuple[int, int]]  # by group, from where to where

    def of(self, group: int) -> np.ndarray:
        """The times of a group."""
        start, end = self.parts.get(group, (0, 0))
        return self.times[start:end]


@dataclass(frozen=True)
class Match:
    """The sample (or the two) of each clock time. Where `found` is false the other fields mean nothing.

    `age` is clock time less sample time, of the nearer where there are two; `aged` is false where it does not fit.
    """

    found: np.ndarray
    before: np.ndarray
    after: np.ndarray | None
    weight: np.ndarray | None  # from 0 at `before` to 1 at `after`
    age: np.ndarray
    aged: np.ndarray


def numbers(times: pl.Series) -> np.ndarray:
    """A column of times without nulls as int64."""
    return times.to_physical().cast(pl.Int64).to_numpy()


def track(frame: pl.DataFrame, on: str, groups: Groups) -> Track:
    """The samples of a frame in the order in which they are searched."""
    keys, kept = frame.select(*groups.by, on), None
    if keys[on].null_count():
        there = keys[on].is_not_null()
        keys, kept = keys.filter(there), np.flatnonzero(there.to_numpy())
    times, parts = numbers(keys[on]), groups.parts(keys)
    order = parts.order
    if order is not None:
        times = times[order]
    within = _order_within(times, parts)
    if within is not None:
        times = times[within]
        order = within if order is None else order[within]
    if kept is not None:
        order = kept if order is None else kept[order]
    return Track(times, order, dict(zip(parts.ids, zip(parts.edges, parts.edges[1:]))))


def _order_within(times: np.ndarray, parts: Parts) -> np.ndarray | None:
    """The stable order by time in each group; None where that is how they are."""
    falls = np.flatnonzero(times[1:] < times[:-1]) + 1
    falls = falls[~np.isin(falls, parts.edges)] if len(falls) else falls
    if not len(falls):
        return None
    order = np.arange(len(times))
    for place in np.unique(np.searchsorted(parts.edges, falls, side="right") - 1):
        start, end = parts.edges[place], parts.edges[place + 1]
        order[start:end] = start + np.argsort(times[start:end], kind="stable")
    return order


def match(way: Way, samples: Track, parts: Parts, times: np.ndarray, valid: np.ndarray | None) -> Match:
    """The samples for clock rows of these groups and times; `valid` is false in rows without a time."""
    if not len(samples.times):
        nothing, nowhere = np.zeros(len(times), bool), np.zeros(len(times), np.int64)
        return Match(nothing, nowhere, nowhere, np.zeros(len(times)), nowhere, nothing)
    made = _METHODS[way.method](samples, parts, times)
    found = made.found
    if way.tolerance is not None:
        found = found & (made.farthest <= np.uint64(way.tolerance))
    if valid is not None:
        found = found & valid
    distance = made.nearest.view(np.int64)
    if isinstance(made.older, bool):
        age = distance if made.older else -distance
    else:
        age = np.where(made.older, distance, -distance)
    before, after = made.before, made.after
    if samples.rows is not None:
        before = samples.rows[before]
        after = None if after is None else samples.rows[after]
    return Match(found, before, after, made.weight, age, found & (made.nearest <= _LONGEST))


@dataclass(frozen=True)
class _Found:
    """What a method finds before tolerance: samples by place in the track, and uint64 distances."""

    found: np.ndarray
    before: np.ndarray
    farthest: np.ndarray  # of the samples that it uses: what the tolerance is about
    nearest: np.ndarray  # ... what the age is about
    older: np.ndarray | bool  # whether that nearest one is at or before the clock time
    after: np.ndarray | None = None
    weight: np.ndarray | None = None


def _previous(samples: Track, parts: Parts, times: np.ndarray) -> _Found:
    before = _before(samples, parts, times)
    past = _apart(times, samples.times[before])
    return _Found(before >= 0, before, past, past, True)


def _next(samples: Track, parts: Parts, times: np.ndarray) -> _Found:
    place, _, end = _places(samples, parts, times, "left")
    after = np.where(place < end, place, -1)
    future = _apart(samples.times[after], times)
    return _Found(after >= 0, after, future, future, False)


def _exact(samples: Track, parts: Parts, times: np.ndarray) -> _Found:
    before = _before(samples, parts, times)
    past = _apart(times, samples.times[before])
    return _Found((before >= 0) & (past == 0), before, past, past, True)


def _nearest(samples: Track, parts: Parts, times: np.ndarray) -> _Found:
    before, after = _neighbours(samples, parts, times)
    past, future = _apart(times, samples.times[before]), _apart(samples.times[after], times)
    older = (before >= 0) & ((past <= future) | (after < 0))
    distance = np.where(older, past, future)
    return _Found(older | (after >= 0), np.where(older, before, after), distance, distance, older)


def _around(samples: Track, parts: Parts, times: np.ndarray) -> _Found:
    before, after = _neighbours(samples, parts, times)
    after = np.where((before >= 0) & (samples.times[before] == times), before, after)
    past, future = _apart(times, samples.times[before]), _apart(samples.times[after], times)
    whole = past.astype(np.float64) + future.astype(np.float64)
    return _Found(
        found=(before >= 0) & (after >= 0),
        before=before,
        farthest=np.maximum(past, future),
        nearest=np.minimum(past, future),
        older=past <= future,
        after=after,
        weight=past / np.where(whole > 0, whole, 1),
    )


_METHODS = {"previous": _previous, "next": _next, "none": _exact, "nearest": _nearest, "linear": _around,
            "slerp": _around}  # fmt: skip


def _apart(later: np.ndarray, earlier: np.ndarray) -> np.ndarray:
    """later - earlier, exact for any two int64 where that is not negative."""
    return later.view(np.uint64) - earlier.view(np.uint64)


_Ends = np.ndarray | int


def _places(samples: Track, parts: Parts, times: np.ndarray, side: str) -> tuple[np.ndarray, _Ends, _Ends]:
    """For each time the place in the track of the first sample after it, and where its group begins and ends there.

    `side` says whether a sample at that very time is after it ("left") or before it ("right").
    """
    if len(parts.ids) == 1 and parts.ids[0] in samples.parts:  # the usual case: a piece of one recording
        first, last = samples.parts[parts.ids[0]]
        return _search(samples.times[first:last], times, side) + first, first, last
    asked = times if parts.order is None else times[parts.order]
    place, start, end = (np.zeros(len(times), np.int64) for _ in range(3))
    for group, a, b in zip(parts.ids, parts.edges, parts.edges[1:]):
        if group in samples.parts:
            first, last = samples.parts[group]
            np.add(_search(samples.times[first:last], asked[a:b], side), first, out=place[a:b])
            start[a:b], end[a:b] = first, last
    if parts.order is None:
        return place, start, end
    back = np.empty_like(parts.order)
    back[parts.order] = np.arange(len(back))
    return place[back], start[back], end[back]


def _search(samples: np.ndarray, asked: np.ndarray, side: str) -> np.ndarray:
    """`np.searchsorted`, by merging where that is faster: both sorted, and not many more samples than times."""
    if len(asked) < 64 or (asked[1:] < asked[:-1]).any():
        return np.searchsorted(samples, asked, side=side)  # type: ignore[call-overload]
    low, high = np.searchsorted(samples, asked[[0, -1]], side=side)  # type: ignore[call-overload]
    samples = samples[low:high]
    if len(samples) > 4 * len(asked):
        return np.searchsorted(samples, asked, side=side) + low  # type: ignore[call-overload]
    # A stable sort of two sorted runs is one merge; of equals, the run that stands first comes first.
    if side == "right":
        order = np.argsort(np.concatenate([samples, asked]), kind="stable")
        merged = np.flatnonzero(order >= len(samples))
    else:
        order = np.argsort(np.concatenate([asked, samples]), kind="stable")
        merged = np.flatnonzero(order < len(asked))
    return merged - np.arange(-low, len(asked) - low)


def _before(samples: Track, parts: Parts, times: np.ndarray) -> np.ndarray:
    """Where the last sample at or before each time is; -1 for none."""
    place, start, _ = _places(samples, parts, times, "right")
    return np.where(place > start, place - 1, -1)


def _neighbours(samples: Track, parts: Parts, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the last sample at or before each time is, and the first one after it; -1 for none."""
    place, start, end = _places(samples, parts, times, "right")
    return np.where(place > start, place - 1, -1), np.where(place < end, place, -1)
