"""A rule on a plan: the text after it, and that both plans give the same rows."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent

import polars as pl
import pytest

import robodf as rd
from robodf.optimizer import Rule, optimize
from robodf.plan.base import lower_all, tree


@pytest.fixture
def df() -> rd.PipelineDataFrame:
    """Nulls, NaN, -0.0 beside 0.0, duplicates, a list and a struct."""
    return rd.from_polars(
        pl.DataFrame(
            {
                "k": [1, 2, 2, None],
                "x": [0.0, -0.0, float("nan"), None],
                "s": ["a", "b", None, "a"],
                "l": [[1, 2], [], None, [3]],
                "p": [{"u": 1, "v": "q"}, None, {"u": 2, "v": None}, {"u": 3, "v": "r"}],
            }
        )
    )


@pytest.fixture
def other() -> rd.PipelineDataFrame:
    return rd.from_polars(pl.DataFrame({"k": [2, 1, 3, None], "x": [-0.0, 1.0, 2.0, 0.0], "y": [10, 20, 30, 40]}))


def _run(plan) -> list:
    rows = lower_all(plan).collect(engine="streaming").rows()
    return sorted(map(repr, rows))


@pytest.fixture
def fires() -> Callable:
    """`fires(frame, rules, text)`: the plan after the rules alone is `text`, and its rows are those of before."""

    def check(frame: rd.PipelineDataFrame, rules: Rule | tuple[Rule, ...], text: str) -> None:
        rules = rules if isinstance(rules, tuple) else (rules,)
        after = optimize(frame._plan, rules)
        assert tree(after) == dedent(text).strip()
        assert _run(after) == _run(frame._plan)
        assert after.schema == frame._plan.schema

    return check


@pytest.fixture
def keeps() -> Callable:
    """`keeps(frame, rule)`: the rule finds nothing to do."""

    def check(frame: rd.PipelineDataFrame, rule: Rule) -> None:
        after = optimize(frame._plan, (rule,))
        assert after is frame._plan, f"\n{tree(frame._plan)}\nbecame\n{tree(after)}"

    return check
