"""What waits for a live session: in order, never too much, and no plan that nobody wants any more."""

from __future__ import annotations

from worldmodel.viewing.live.commands import Begin, Command, Drive, Left, Look, PlanAndAct, Stop
from worldmodel.viewing.live.waiting import Waiting


def drained(waiting: Waiting) -> list[tuple[int, Command | Left]]:
    """Take out all that waits."""
    entries = []
    while (entry := waiting.get(0)) is not None:
        entries.append(entry)
    return entries


def test_who_has_gone_is_heard_of_after_all_that_they_asked_for() -> None:
    waiting = Waiting(1)
    assert waiting.put(1, Drive((1.0,)))
    assert not waiting.put(1, Look())
    assert waiting.put(1, Left())
    assert drained(waiting) == [(1, Drive((1.0,))), (1, Left())]


def test_of_plans_only_the_newest_waits() -> None:
    waiting = Waiting(8)
    for command in (PlanAndAct(), Begin(), PlanAndAct(), Look(), PlanAndAct()):
        assert waiting.put(1, command)
    assert drained(waiting) == [(1, Begin()), (1, Look()), (1, PlanAndAct())]


def test_a_stop_voids_plans_before_it_and_always_finds_room() -> None:
    waiting = Waiting(3)
    for command in (PlanAndAct(), Look(), Begin()):
        assert waiting.put(1, command)
    assert waiting.put(2, Stop())
    assert not waiting.put(1, Look())
    for _ in range(100):
        assert waiting.put(2, Stop())
    assert drained(waiting) == [(1, Look()), (1, Begin()), (2, Stop())]
    assert waiting.put(2, Stop())
    assert waiting.put(1, PlanAndAct())
    assert drained(waiting) == [(2, Stop()), (1, PlanAndAct())]


def test_what_ends_a_search_calls_it_off_as_long_as_it_waits() -> None:
    waiting = Waiting(8)
    for command in (Look(), Drive((1.0,))):
        waiting.put(1, command)
    assert not waiting.calls_off
    for command in (Stop(), Begin(), PlanAndAct()):
        waiting.put(1, command)
        assert waiting.calls_off
        drained(waiting)
        assert not waiting.calls_off
