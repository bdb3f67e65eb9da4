"""How much memory this process may count on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

OWN_GROUPS = Path("/proc/self/cgroup")  # a line for each hierarchy of control groups: "4:memory:/a/b", or "0::/a/b"
# by version: where the groups lie, and the file of a group that tells its limit, bytes or "max"
HIERARCHIES = {
    1: (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
    2: (Path("/sys/fs/cgroup"), "memory.max"),
}


def memory() -> int:
    """Return this process's share of the machine's memory, or of what its control groups may take, bytes.

    Processes that torchrun started on this machine share it evenly.
    """
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([whole, *_limits()]) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _limits() -> Iterator[int]:
    """Yield what the control group of this process may take, and each group around it, bytes."""
    for line in OWN_GROUPS.read_text().splitlines() if OWN_GROUPS.exists() else ():
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, name = HIERARCHIES[1 if controllers else 2]
        place = Path(group.lstrip("/"))
        for folder in (place, *place.parents):
            path = root / folder / name  # a container may see its own group as the root, and not where its name says
            if path.exists() and (told := path.read_text().strip()).isdecimal():
                yield int(told)
