"""A file, mapped read-only."""

import mmap
import os
import stat
from pathlib import Path

import numpy as np

from ..errors import GGUFError


class Mapped:
    """A regular file mapped read-only; the mapping lives as long as any array made from it.

    Raises GGUFError for a path that is no regular, readable, non-empty file.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        try:
            # non-blocking, so that a named pipe is refused instead of waited for
            fd = os.open(self.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        except FileNotFoundError:
            raise GGUFError(f"no such file: {self.path}") from None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise GGUFError(f"{self.path}: cannot be opened ({getattr(error, 'strerror', None) or error})") from None
        try:
            status = os.fstat(fd)
            if stat.S_ISDIR(status.st_mode):
                raise GGUFError(f"{self.path} is a folder; name a .gguf file in it")
            if not stat.S_ISREG(status.st_mode):
                raise GGUFError(f"{self.path} is no regular file; a GGUF is mapped, so it must be one")
            self.size = status.st_size
            if self.size == 0:
                raise GGUFError(f"{self.path}: the file is empty (0 bytes)")
            self.map = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise GGUFError(f"{self.path}: cannot be mapped ({error.strerror})") from None
        finally:
            os.close(fd)

    def bytes(self, offset: int, nbytes: int) -> np.ndarray:
        """Read-only uint8 [nbytes] of the file from ``offset``, a view of the mapping.

        Raises GGUFError when the range is not inside the file.
        """
        if offset < 0 or nbytes < 0 or offset + nbytes > self.size:
            end = offset + nbytes
            raise GGUFError(f"{self.path}: bytes {offset} to {end} lie outside the file of {self.size} bytes")
        return np.frombuffer(self.map, np.uint8, nbytes, offset)

    def release(self, offset: int, nbytes: int) -> None:
        """Give the pages of this range back to the system; they are read again when touched. A no-op where it cannot."""
        if hasattr(mmap, "MADV_DONTNEED"):
            first = offset // mmap.PAGESIZE * mmap.PAGESIZE
            self.map.madvise(mmap.MADV_DONTNEED, first, offset + nbytes - first)
