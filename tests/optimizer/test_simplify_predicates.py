"""Plain comparisons out of conditions, with the same answer for nulls and NaN."""

from __future__ import annotations

import pytest

from robodf import col, lit
from robodf.optimizer.simplify_predicates import simplify_predicates


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (lambda: ~(lit(5) >= col("k")), 'col("k") > 5'),
        (lambda: lit(1) < col("x"), 'col("x") > 1'),
        (lambda: ~~(col("k") > 1), 'col("k") > 1'),
        (lambda: ~(col("x") > 0), 'col("x") <= 0'),
        (lambda: ~(col("x") == 0), 'col("x") != 0'),
        (lambda: ~col("k").is_null(), 'col("k").is_not_null()'),
        (lambda: col("k").is_between(1, 2), '(col("k") >= 1) & (col("k") <= 2)'),
        (lambda: col("k").is_between(1, 2, closed="none"), '(col("k") > 1) & (col("k") < 2)'),
        (lambda: col("x").is_between(0.0, 1.0, "right"), '(col("x") > 0.0) & (col("x") <= 1.0)'),
        (lambda: col("k").gt(1).and_(col("k").le(2)), '(col("k") > 1) & (col("k") <= 2)'),
        (lambda: (col("k") > 1) & lit(True), 'col("k") > 1'),
        (lambda: (col("k") > 1) & (col("k") > 1), 'col("k") > 1'),
    ],
)
def test_simplified(df, fires, condition, text: str) -> None:
    fires(df.filter(condition()), simplify_predicates, f"Filter {text}\n  InMemory 4 rows, 5 columns")


def test_true_goes(df, fires) -> None:
    fires(df.filter(lit(True) & lit(True)), simplify_predicates, "InMemory 4 rows, 5 columns")


@pytest.mark.parametrize(
    "condition",
    [
        lambda: col("k") > 1,
        lambda: (col("k") > 1) | (col("x") > 0),
        lambda: ~((col("k") > 1) | (col("x") > 0)),
        lambda: ~col("s").str.contains("a"),
        lambda: col("k").is_between(col("x"), 2) | (col("k") > 1),
        lambda: lit(1) > lit(2),
        lambda: lit(False),
        lambda: ~(col("k").is_in([1, None])),
        lambda: col("k").eq_missing(1),
    ],
)
def test_stays(df, condition) -> None:
    """What is left as it is, or changed, gives the same rows."""
    from robodf.optimizer import optimize
    from robodf.plan.base import lower_all

    frame = df.filter(condition())
    after = optimize(frame._plan, (simplify_predicates,))
    assert repr(lower_all(after).collect()) == repr(lower_all(frame._plan).collect())


@pytest.mark.parametrize("condition", [lambda: col("k") > 1, lambda: ~col("s").str.contains("a"), lambda: lit(False)])
def test_nothing_to_do(df, keeps, condition) -> None:
    keeps(df.filter(condition()), simplify_predicates)
