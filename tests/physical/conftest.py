"""Frames to cut, and the check that a cut plan is as written and gives the rows of the plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import polars as pl
import pytest
from cut_plans import SECOND, SMALL, START, same_rows, write_log

import robodf as rd
from robodf.physical.cut import Cut, Limits, cut
from robodf.plan.base import tree


@pytest.fixture
def df() -> rd.PipelineDataFrame:
    """12 rows in 3 pieces under the limits above: nulls, NaN, -0.0 beside 0.0, keys that repeat."""
    return rd.from_polars(
        pl.DataFrame(
            {
                "k": [1, 2, 2, None, 3, 1, None, 2, 1, 3, 3, 2],
                "x": [0.0, -0.0, float("nan"), None, 2.5, 1.5, 0.5, 8.0, float("nan"), 3.0, -1.0, 4.0],
                "s": list("abcabcaabbcc"),
                "l": [[1, 2], [], None, [3], [4], [5, 6], [7], [8], None, [9], [], [10]],
                "t": list(range(12)),
            }
        ).select("k", "x", "s", "l", "t")
    )


@pytest.fixture
def other() -> rd.PipelineDataFrame:
    return rd.from_polars(pl.DataFrame({"k": [2, 1, 3, None, 2], "y": [10, 20, 30, 40, 50], "t": [1, 5, 4, 9, 11]}))


@pytest.fixture
def cuts() -> Callable[..., Cut]:
    """`cuts(frame, text)`: the plan cut is `text`, and its rows are those of the plan, in order unless told."""

    def check(frame: rd.PipelineDataFrame, text: str, limits: Limits = SMALL, ordered: bool = True) -> Cut:
        done = cut(frame._plan, limits)
        assert tree(done.plan) == dedent(text).strip()
        same_rows(frame._plan, limits, ordered)
        return done

    return check


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four recordings, a to d, each with /imu (100 Hz) and /cam (20 Hz); /rare is in b alone."""
    folder = tmp_path_factory.mktemp("logs")
    for k, name in enumerate("abcd"):
        topics = (("/imu", 1), ("/cam", 5), *((("/rare", 50),) if name == "b" else ()))
        write_log(folder / f"{name}.mcap", START + k * 3600 * SECOND, 100 + 20 * k, topics)
    return folder
