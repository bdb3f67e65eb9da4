"""How many frames a second a live session dreams while it simulates: python scripts/bench_live.py RUN [RECORDING]"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from worldmodel.training.device import choose_compute
from worldmodel.viewing.find import open_trained
from worldmodel.viewing.live.commands import FRAMES_PER_SECOND, Settings, Wander
from worldmodel.viewing.live.session import Session

SECONDS = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("recording", type=Path, nargs="?")
    arguments = parser.parse_args()
    sent = {"messages": 0, "bytes": 0}

    def publish(kind: str, text: str, viewer: int | None = None) -> None:
        sent["messages"] += 1
        sent["bytes"] += len(text)

    compute = choose_compute()
    with open_trained(arguments.run, arguments.recording, compute) as trained:
        session = Session(trained, publish=publish)
        session.start()
        session.watch(1)
        session.submit(1, Settings(frames_per_second=FRAMES_PER_SECOND[1]))
        session.submit(1, Wander(True))
        while session.frames < 10 and session.running:
            time.sleep(0.01)
        begun, frames, told = time.perf_counter(), session.frames, sent["bytes"]
        time.sleep(SECONDS)
        seconds = time.perf_counter() - begun
        rate = (session.frames - frames) / seconds
        session.stop()
        if session.failure is not None:
            raise session.failure
    report = {
        "compute": str(compute),
        "dream frames per second": round(rate, 1),
        "asked for": FRAMES_PER_SECOND[1],
        "kB per frame": round((sent["bytes"] - told) / 1000 / max(1, rate * seconds), 1),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
