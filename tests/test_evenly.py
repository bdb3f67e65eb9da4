"""Some of many are chosen evenly, the first and the last among them."""

from __future__ import annotations

import pytest

from worldmodel.evenly import evenly


@pytest.mark.parametrize(
    ("count", "most", "chosen"),
    [(5, 3, [0, 2, 4]), (10, 4, [0, 3, 6, 9]), (3, 8, [0, 1, 2]), (7, 1, [0]), (1, 1, [0])],
)
def test_some_are_chosen_evenly(count: int, most: int, chosen: list[int]) -> None:
    assert evenly(count, most).tolist() == chosen
