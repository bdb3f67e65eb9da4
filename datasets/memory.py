"""How much memory this process may count on."""

from __future__ import annotations

import os
from pathlib import Path

# of a control group, such as a container's, bytes or "max": versions 2 and 1
LIMITS = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory() -> int:
    """Return this process's share of the machine's memory, or of what its control group may take, bytes.

    Processes that torchrun started on this machine share it evenly.
    """
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [int(told) for path in LIMITS if path.exists() and (told := path.read_text().strip()).isdecimal()]
    return min([whole, *limits]) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
