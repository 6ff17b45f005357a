"""Columns of vectors as one matrix of unit vectors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from robodf.compat import explode_options
from robodf.dedup.columns import of_column
from robodf.dedup.compiled import in_ranges, kernel
from robodf.errors import SchemaError

STEPS = 1 << 24
"""Numbers of a unit vector are whole multiples of 1/STEPS. Each fits in float32, and products of vectors add up in 64
bits without rounding: they are the same on every machine, in every order of summation. It bends a cosine by less than
sqrt(d) 2^-24, 1e-6 for 256 numbers."""

_AT_ONCE = 16 << 20
"""Numbers that are made Float64 at once: 128 MiB."""


@kernel
def dot(x, a, y, b):
    """The product of row `a` of `x` and row `b` of `y`, whose numbers are multiples of 2^-24: exact, in any order."""
    total = np.int64(0)
    a, b = np.uint64(a), np.uint64(b)  # a sign would have to be looked at for each number
    for k in range(np.uint64(x.shape[1])):
        total += np.int64(np.int32(x[a, k] * np.float32(STEPS))) * np.int64(np.int32(y[b, k] * np.float32(STEPS)))
    return total / (STEPS * STEPS)


class Vectors(NamedTuple):
    """The directions of `n` vectors of `d` numbers. Each row is a function of its own vector alone."""

    unit: np.ndarray
    """(n, d) float32, C order: of length 1, rounded to multiples of 2^-24; zeros where there is no vector."""
    square: np.ndarray
    """(n,) float64: the squared length of each row of `unit`, so that rounding does not bend a cosine."""
    there: np.ndarray
    """(n,) bool: False where nothing can be compared: a null, no numbers, only zeros, one that is null, NaN or inf."""

    def take(self, rows: np.ndarray) -> Vectors:
        """Some of the rows, in the order of `rows`."""
        return Vectors(self.unit[rows], self.square[rows], self.there[rows])


def check_type(dtype: Any, column: str) -> None:
    """SchemaError for a type whose values are no vectors."""
    inner = getattr(dtype, "inner", None)
    if not isinstance(dtype, (pl.List, pl.Array)) or inner is None or not (inner.is_float() or inner.is_integer()):
        raise SchemaError(
            f"dedup: semantic similarity is of vectors, Array(Float32, d) or List(Float32); {column!r} is {dtype}. "
            'Texts become vectors by df.embed("text", model)'
        )


def to_vectors(pieces: Iterable[pl.Series], rows: int) -> Vectors:
    """The vectors of a column, given in pieces of `rows` rows together; row k of all pieces is row k here.

    Takes List or Array of numbers. Two rows of different lengths are a SchemaError, which names both.
    """
    made: Vectors | None = None
    there = np.zeros(rows, bool)
    first, width_from = 0, 0
    for piece in pieces:
        check_type(piece.dtype, piece.name)
        if isinstance(piece.dtype, pl.Array):
            piece = piece.arr.to_list()
        lengths = np.where(piece.is_null().to_numpy(), 0, piece.list.len().fill_null(0).to_numpy()).astype(np.int64)
        (given,) = np.nonzero(lengths)
        if len(given):
            if made is None:
                width, width_from = int(lengths[given[0]]), first + int(given[0])
                made = Vectors(np.zeros((rows, width), np.float32), np.zeros(rows), there)
            _check_lengths(lengths, given, made.unit.shape[1], width_from, first, piece.name)
            _fill(piece, given, first, made)
        first += len(piece)
    return Vectors(np.zeros((rows, 0), np.float32), np.zeros(rows), there) if made is None else made


def _check_lengths(lengths: np.ndarray, given: np.ndarray, width: int, width_from: int, first: int, name: str) -> None:
    (other,) = np.nonzero(lengths[given] != width)
    if len(other):
        row = int(given[other[0]])
        raise SchemaError(
            f"dedup: the vectors{of_column(name)} are not of one length: row {width_from} has {width} numbers, "
            f"row {first + row} has {lengths[row]}"
        )


def _fill(piece: pl.Series, given: np.ndarray, first: int, made: Vectors) -> None:
    width = made.unit.shape[1]
    whole = len(given) == len(piece)
    step = max(1, _AT_ONCE // width)
    for start in range(0, len(given), step):
        rows = given[start : start + step]
        part = piece.slice(start, len(rows)) if whole else piece.gather(rows)
        # A null is not a number: the row that holds one is left out like one that holds NaN.
        numbers = (
            part.explode(**explode_options())
            .cast(pl.Float64)
            .fill_null(float("nan"))
            .to_numpy()
            .reshape(len(rows), width)
        )
        places = rows + first
        in_ranges(
            len(rows),
            lambda a, b, x=numbers, p=places: _normalise(x[a:b], p[a:b], made.unit, made.square, made.there),
            least=max(1, (1 << 18) // width),
        )


def normalised(numbers: np.ndarray) -> Vectors:
    """The directions of the rows of a float64 matrix."""
    n = len(numbers)
    made = Vectors(np.zeros(numbers.shape, np.float32), np.zeros(n), np.zeros(n, bool))
    _normalise(numbers, np.arange(n), made.unit, made.square, made.there)
    return made


@kernel
def _normalise(numbers, places, unit, square, there):
    for k in range(len(places)):
        row = places[k]
        largest = 0.0
        fine = True
        for j in range(numbers.shape[1]):
            size = abs(numbers[k, j])
            if not size < np.inf:
                fine = False
                break
            largest = max(largest, size)
        if not fine or largest == 0.0:
            continue
        total = 0.0
        for j in range(numbers.shape[1]):
            part = numbers[k, j] / largest  # huge and tiny numbers have squares that no float holds
            total += part * part
        length = np.sqrt(total)
        for j in range(numbers.shape[1]):
            unit[row, j] = np.float32(np.rint(numbers[k, j] / largest / length * STEPS) / STEPS)
        square[row] = dot(unit, row, unit, row)
        there[row] = True
