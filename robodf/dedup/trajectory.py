"""Trajectories: columns of states over time as rows of numbers, and the method that finds the similar ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from robodf.dedup import motion
from robodf.dedup.columns import of_column
from robodf.dedup.dtw import Held, Holding
from robodf.dedup.method import Keys
from robodf.errors import OptionError, SchemaError

_GREATEST = 1e100  # of a state: squares of it can still be summed

_TAKEN = (
    "List(List(number)), List(Array(number)), List(Struct of numbers), or List(number) for one dimension, "
    "or Array in place of List"
)


class States(NamedTuple):
    """Trajectories one after the other."""

    values: np.ndarray
    """float32 or float64: of each trajectory its states, of each state its numbers."""
    start: np.ndarray
    """(n + 1,) int64: where in `values` each trajectory starts."""
    steps: np.ndarray
    """(n,) int64: states."""
    dims: np.ndarray
    """(n,) int64: numbers a state."""
    there: np.ndarray
    """(n,) bool: False where a trajectory is null, empty, or has a null, NaN, infinite or huge number."""


@dataclass(frozen=True)
class Trajectory:
    """Rows whose trajectories are alike: one row is one trajectory, a list of states, `steps` x `dims` numbers.

    The similarity is 1 - (rms deviation along the best alignment in time) / spread (see `dtw`): the same for all units,
    0.97 for a copy with noise of 1 % of the range. It finds copies with noise, played a tenth faster or slower,
    started somewhat earlier or later, or cut off at the end down to half; not copies cut off at the start, scaled or
    moved in space, and not other demonstrations of the same task, unless these are as alike as copies are.

    Candidates are found by the directions of motion (see `motion`). Of copies changed in one of these ways, of 60 and
    more steps, at least 97 in 100 are found, and 9 in 10 of those changed in all of them at once; of 12 to 40 steps it
    is 9 and 6 in 10.

    Takes a column of List(List), List(Array), Array(Array), List(Struct of numbers) or List (one dimension).
    Trajectories that are null or empty, or have a null, NaN, infinite or huge (1e100) number, are like no other;
    so are those with other numbers of dimensions.

    Raises OptionError for a threshold outside of 0.5 to 1, and SchemaError for columns of other types and for a
    trajectory whose states differ in length.
    """

    threshold: float = 0.95

    bands: ClassVar[int] = motion.BANDS
    cap: ClassVar[int | None] = None
    knows_same: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0.5 <= self.threshold <= 1:
            raise OptionError(
                f"threshold is {self.threshold!r}, and of trajectories it is 0.5 to 1: 0.95 is a deviation of 5 % of "
                "the spread, and copies with more than a tenth are not found reliably"
            )

    @property
    def least(self) -> float:
        """The similarity from which on two rows are alike."""
        return float(self.threshold)

    def describe(self) -> str:
        """One line of what is compared and found."""
        return f"alignments in time with a similarity >= {self.threshold:g}, {self.bands} keys"

    def keys(self, values: pl.Series) -> Keys:
        """The keys of the sketch of motion."""
        found = states(values)
        bands, same = motion.keys(found.values, found.start, found.steps, found.dims)
        return Keys(bands, found.there, same)

    def hold(self, values: Iterator[pl.Series], rows: int) -> Held:
        """The states, of long trajectories as means."""
        holding = Holding(rows)
        for piece in values:
            found = states(piece)
            holding.append(found.values, found.start, np.where(found.there, found.steps, 0), found.dims)
        return holding.finish()


def states(column: pl.Series) -> States:
    """The numbers of a column of trajectories, without those of rows that are not there."""
    number, names = _leaf(column.dtype)
    rows = _lists(column.dtype, number)
    # Not strict: Polars 1.44 takes what lies below the nulls of an Array for values. Numbers become floats always.
    outer = column.cast(rows, strict=False).rechunk().to_arrow()
    there = outer.is_valid().to_numpy(zero_copy_only=False)
    steps = _lengths(outer)
    inner = outer.flatten()
    row_of = np.repeat(np.arange(len(column)), steps)
    dims = np.full(len(column), len(names) if names else 1, np.int64)
    if names:
        there[row_of[~inner.is_valid().to_numpy(zero_copy_only=False)]] = False
        flat = np.stack([_numbers(field, number) for field in inner.flatten()], axis=1).reshape(-1)
    elif isinstance(rows.inner, pl.List):
        there[row_of[~inner.is_valid().to_numpy(zero_copy_only=False)]] = False
        widths = _lengths(inner)
        first = np.cumsum(steps) - steps
        some = steps > 0
        dims[some] = widths[first[some]]
        uneven = np.flatnonzero((widths != dims[row_of]) & there[row_of])
        if uneven.size:
            at = uneven[0]
            raise SchemaError(
                f"a trajectory{of_column(column.name)} has states of {dims[row_of[at]]} and of {widths[at]} numbers; "
                "all states of one trajectory have one length: keep rows with others out by a filter before"
            )
        # What a row that is not there has of numbers is left out, so that each has steps times dims.
        kept = there[row_of]
        flat = _numbers(inner.flatten(), number)
        if not kept.all():
            flat = flat[np.repeat(kept, widths)]
        steps = np.where(there, steps, 0)
    else:
        flat = _numbers(inner, number)
    start = np.concatenate([[0], np.cumsum(steps * dims)])
    wrong = np.flatnonzero(~(np.abs(flat) <= min(_GREATEST, float(np.finfo(flat.dtype).max))))
    there[np.searchsorted(start, wrong, side="right") - 1] = False
    return States(flat, start, steps, dims, there & (start[1:] > start[:-1]))


def is_trajectory(dtype: pl.DataType) -> bool:
    """Whether values of a type are lists of states."""
    numbers, _ = _numbers_of(dtype)
    return all(isinstance(n, pl.DataType) and (n.is_numeric() or n == pl.Boolean) for n in numbers)


def _numbers_of(dtype: pl.DataType) -> tuple[list[Any], list[str]]:
    """The types of the numbers of a state, and the names of the fields where it is a struct."""
    inner = dtype.inner if isinstance(dtype, (pl.List, pl.Array)) else None
    state = inner.inner if isinstance(inner, (pl.List, pl.Array)) else inner
    fields = state.fields if isinstance(state, pl.Struct) and state is inner else []
    return [field.dtype for field in fields] if fields else [state], [field.name for field in fields]


def _leaf(dtype: pl.DataType) -> tuple[pl.DataType, list[str]]:
    """The type of numbers that all are turned into, and the names of the fields where a state is a struct."""
    if not is_trajectory(dtype):
        raise SchemaError(f"a trajectory is {_TAKEN}; it is not {dtype}")
    numbers, names = _numbers_of(dtype)
    return pl.Float32() if all(n == pl.Float32 for n in numbers) else pl.Float64(), names


def _lists(dtype: pl.DataType, number: pl.DataType) -> pl.List:
    inner = dtype.inner  # pyright: ignore[reportAttributeAccessIssue] - `_leaf` has seen that it has one
    if isinstance(inner, pl.Struct):
        return pl.List(pl.Struct({field.name: number for field in inner.fields}))
    return pl.List(pl.List(number) if isinstance(inner, (pl.List, pl.Array)) else number)


def _lengths(lists: pa.LargeListArray) -> np.ndarray:
    return lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)


def _numbers(values: pa.Array, number: pl.DataType) -> np.ndarray:
    found = values.to_numpy(zero_copy_only=False)
    # Nulls are NaN now. A negative zero equals zero, so it must have the same bits.
    return found.astype(np.float32 if number == pl.Float32 else np.float64) + 0.0
