"""Viewers are told the newest, cost no memory, and may say only so much."""

from __future__ import annotations

import asyncio
import time

from worldmodel.viewing.live.hub import Allowance, Hub, ViewerConfig


def test_a_slow_viewer_gets_the_newest_of_each_kind_and_a_late_one_what_it_needs() -> None:
    async def scene() -> None:
        hub = Hub(ViewerConfig())
        hub.bind(asyncio.get_running_loop())
        slow = hub.join()
        for number in range(1000):
            hub.publish("frame", f"frame {number}")
            hub.publish("note", f"note {number}")
        hub.publish("episode", "for another", viewer=slow.number + 1)
        await asyncio.sleep(0.05)
        assert len(slow.waiting) == 2
        assert [await slow.next_message() for _ in range(2)] == ["frame 999", "note 999"]
        late = hub.join()
        assert late.waiting == {"frame": "frame 999"}
        hub.leave(slow)
        hub.publish("frame", "another")
        await asyncio.sleep(0.05)
        assert not slow.waiting
        assert await late.next_message() == "another"
        assert len(hub) == 1

    asyncio.run(scene())


def test_an_allowance_is_spent_and_refilled() -> None:
    allowance = Allowance(ViewerConfig(messages_per_second=50, burst=5))
    assert [allowance.spend() for _ in range(7)] == [True] * 5 + [False] * 2
    time.sleep(0.1)
    assert allowance.spend()
