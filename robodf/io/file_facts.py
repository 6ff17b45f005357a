"""What the log of a table knows of the columns of its files, and which files it leaves for some predicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from robodf.plan.excluding import Known, excludes
from robodf.plan.expr import Expr

_NULLS = {"nulls": pl.Int64(), "nan": pl.Boolean()}


@dataclass(frozen=True, eq=False)
class FileFacts:
    """Of each column a frame with a row for each file, as `Known` has them; `rows` is how many a whole file has.

    Frames, as a table of a million files with a hundred columns has a hundred million of these.
    """

    columns: Mapping[str, pl.DataFrame]
    rows: pl.Series

    @staticmethod
    def of(
        known: Mapping[str, Sequence[Known]], schema: Mapping[str, pl.DataType], rows: Sequence[int | None]
    ) -> FileFacts:
        """From what is known of each file, by column."""
        found = {name: _frame(facts, schema[name]) for name, facts in known.items()}
        return FileFacts({name: frame for name, frame in found.items() if frame is not None}, _numbers(rows))

    def some(self, files: Sequence[int]) -> FileFacts:
        """Those of some of the files, by their places."""
        places = pl.Series(files, dtype=pl.UInt32)
        return FileFacts({name: frame[places] for name, frame in self.columns.items()}, self.rows.gather(places))

    def left(
        self, predicates: Sequence[Expr], schema: Mapping[str, pl.DataType], files: Sequence[int]
    ) -> tuple[list[int], list[str]]:
        """The files, of some, that may hold rows for the predicates, and the columns by which others are left out."""
        places, by = list(files), dict[str, None]()
        for predicate in predicates:
            names = predicate.columns & self.columns.keys()
            if not names or not places:
                continue
            told = {name: [Known(*row) for row in self.columns[name][places].iter_rows()] for name in names}
            rows = self.rows.gather(places).to_list()
            kept = []
            for k, place in enumerate(places):
                of_file = {name: known[k] for name, known in told.items()}
                if not excludes(predicate, schema, of_file.get, rows[k]):
                    kept.append(place)
            if len(kept) < len(places):
                places = kept
                by.update(dict.fromkeys(sorted(names)))
        return places, list(by)


def _frame(facts: Sequence[Known], dtype: pl.DataType) -> pl.DataFrame | None:
    """A column's facts; None where there are none."""
    if all(known[:3] == (None, None, None) for known in facts):
        return None
    lows, highs, nulls, nans = zip(*facts)
    ends = {"low": lows, "high": highs}
    return pl.DataFrame(
        [pl.Series(name, values, kept_as(dtype)) for name, values in ends.items()]
        + [pl.Series(name, values, _NULLS[name]) for name, values in (("nulls", nulls), ("nan", nans))]
    )


def kept_as(dtype: pl.DataType) -> pl.DataType:
    """The type in which bounds are kept: dates and times are numbers, which Python does not have all of as such."""
    if dtype.is_float():
        return pl.Float64()
    return dtype if isinstance(dtype, (pl.String, pl.Boolean)) else pl.Int64()


def _numbers(rows: Sequence[int | None]) -> pl.Series:
    return pl.Series("rows", rows, pl.Int64)
