"""Intervals against published numbers."""

from __future__ import annotations

import pytest

from worldmodel.evaluation.interval import student, t95, wilson


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),  # Newcombe, 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_known_answers(successes: int, count: int, low: float, high: float) -> None:
    rate = wilson(successes, count)
    assert rate.value == successes / count
    assert rate.count == count
    assert (rate.low, rate.high) == pytest.approx((low, high), abs=6e-5)
    assert 0 <= rate.low <= rate.value + 1e-12
    assert rate.value - 1e-12 <= rate.high <= 1


def test_it_reads_as_percentages() -> None:
    assert str(wilson(5, 10)) == "50% [24%, 76%]"


@pytest.mark.parametrize(("successes", "count"), [(0, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(successes: int, count: int) -> None:
    with pytest.raises(ValueError, match=f"{successes} successes of {count}"):
        wilson(successes, count)


@pytest.mark.parametrize(
    ("freedom", "point"), [(1, 12.7062), (2, 4.30265), (4, 2.77645), (9, 2.26216), (29, 2.04523), (1000, 1.96234)]
)
def test_the_points_of_students_t(freedom: int, point: float) -> None:
    assert t95(freedom) == pytest.approx(point, rel=5e-6)  # NIST's table


def test_the_interval_of_a_mean() -> None:
    mean = student([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.77645 * (2.5 / 5) ** 0.5
    assert (mean.value, mean.low, mean.high, mean.count) == pytest.approx((3, 3 - half, 3 + half, 5), abs=1e-4)
    assert str(mean) == "3 [1.037, 4.963]"
    with pytest.raises(ValueError, match="1 values; expected at least 2"):
        student([1.0])
