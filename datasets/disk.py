"""Files that fail as they should, and are on the disk when it is said; folders that one process has to itself."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO, Any


class Disk:
    """A file for HDF5 to write to, which keeps a failing disk from it.

    HDF5 crashes the interpreter when it cannot write while it closes a file. So after a first failure it is
    told that all is well, nothing more is written, and `check` raises what happened.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb+", buffering=0)
        self._failure: OSError | None = None

    def check(self) -> None:
        """Raise the first failure, if there was one."""
        if self._failure:
            raise OSError(self._failure.errno, self._failure.strerror, str(self._path)) from self._failure

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while rest and not self._failure:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._failure = error
        return size

    def truncate(self, size: int) -> int:
        try:
            return self._file.truncate(size)
        except OSError as error:
            self._failure = self._failure or error
            return size

    def read(self, size: int = -1) -> bytes | None:
        """Never called, but h5py takes nothing for a file that lacks it."""
        return self._file.read(size)

    def readinto(self, buffer: Any) -> int | None:
        return self._file.readinto(buffer)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""

    def close(self) -> None:
        self._file.close()


def lock(folder: Path, *, wait: bool = False) -> IO[str] | None:
    """Take a folder for this process, until the file returned is closed or the process ends.

    Args:
        wait: until no other process has it; else None is returned where one has.
    """
    held = (folder / ".lock").open("w")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        held.close()
        return None
    return held


def write_whole(path: Path, content: bytes) -> None:
    """Write a file anew; whatever interrupts that, the old one or the new one is there."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    partial.rename(path)


def sync(path: Path) -> None:
    """Wait until the disk has the contents of a file or folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
