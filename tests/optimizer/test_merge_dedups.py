"""A dedup that is asked twice is done once."""

from __future__ import annotations

import pytest

import robodf as rd
from robodf.optimizer.merge_dedups import merge_dedups


def test_twice_is_once(df, fires) -> None:
    fires(df.dedup("k").dedup("k"), merge_dedups, """
        Dedup on k, keep first: exact, each verified by value
          InMemory 4 rows, 5 columns""")  # fmt: skip
    best = rd.best("x")
    fires(df.dedup("k", keep=best, within="s").dedup("k", keep=best, within="s"), merge_dedups, """
        Dedup on k within s, keep best by x: exact, each verified by value
          InMemory 4 rows, 5 columns""")  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [
        lambda df: df.dedup("k").dedup("x"),
        lambda df: df.dedup("k").dedup("k", keep="last"),
        lambda df: df.dedup("k").dedup("k", nulls="equal"),
        lambda df: df.dedup("k", keep="none").dedup("k", keep="none"),
        lambda df: df.dedup("k", within="s").dedup("k"),
        lambda df: df.dedup("s").dedup("s", method="fuzzy"),
        lambda df: df.dedup("s", method="fuzzy").dedup("s", method="fuzzy"),  # the best of a key are others then
        lambda df: df.dedup("k").clusters("k"),
        lambda df: df.dedup("k", against=df.head(1)).dedup("k"),
    ],
)
def test_both_stay(df, keeps, make) -> None:
    keeps(make(df), merge_dedups)
