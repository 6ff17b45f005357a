"""How many keys of how many minima: against all choices, tried one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from robodf.dedup.banding import choose, recall_at
from robodf.errors import OptionError


def by_trying(threshold, recall, longest, most):
    for rows in range(longest, 0, -1):
        for bands in range(1, most // rows + 1):
            if 1 - (1 - threshold**rows) ** bands >= recall:
                return bands, rows
    return None


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.5, 0.7, 0.8, 0.9, 0.97, 1.0])
@pytest.mark.parametrize("recall", [0.01, 0.5, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("longest", [1, 6, 64])
def test_it_is_the_longest_key_that_reaches_the_recall(threshold, recall, longest):
    expected = by_trying(threshold, recall, longest, 64)
    if expected is None:
        with pytest.raises(OptionError, match="64 minima a row find at most"):
            choose(threshold, recall, longest, 64)
    else:
        assert choose(threshold, recall, longest, 64) == expected


def test_known_choices():
    assert choose(0.8, 0.99, 6) == (16, 6)
    assert choose(0.8, 0.99, 7) == (20, 7)
    assert choose(0.8, 0.99, 256) == (26, 8)
    assert choose(0.7, 0.99, 256) == (37, 6)
    assert choose(0.9, 0.99, 256) == (18, 14)
    assert choose(1.0, 0.999999, 256) == (1, 256)


def test_the_recall_of_a_choice_is_that_of_the_formula():
    for similarity in np.linspace(0, 1, 21):
        expected = 1 - (1 - similarity**8) ** 26
        assert math.isclose(recall_at(similarity, 26, 8), expected, rel_tol=1e-7, abs_tol=1e-14)
    assert recall_at(1.0, 1, 256) == 1.0
    assert recall_at(0.001, 10, 256) == 0.0  # too little for a number, and no error
    assert recall_at(1e-6, 10, 2) == pytest.approx(1e-11)  # by 1 - (1 - p)^b nothing of it would be left


@pytest.mark.parametrize("threshold", [0, -0.1, 1.1, math.nan, math.inf, True])
def test_thresholds_that_are_none(threshold):
    with pytest.raises(OptionError, match="threshold"):
        choose(threshold, 0.99, 6)


@pytest.mark.parametrize("recall", [0, 1, 1.0, -1, math.nan, True])
def test_recalls_that_are_none(recall):
    with pytest.raises(OptionError, match="recall"):
        choose(0.8, recall, 6)


def test_a_recall_out_of_reach_says_what_is_possible():
    with pytest.raises(OptionError, match=r"at most 0\.9237 of the pairs"):
        choose(0.01, 0.99, 6)
    assert choose(0.01, 0.92, 6) == (252, 1)
