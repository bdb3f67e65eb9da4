"""What a benchmark ran on, for its output."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from pathlib import Path


def machine(cores: int, *packages: str) -> str:
    """Return cores, processor, and the versions of Python and of `packages`."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor()
    versions = map(_version, packages)
    return ", ".join([f"{cores} cores of {processor}", f"Python {platform.python_version()}", *versions])


def _version(package: str) -> str:
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return f"{package} missing"
