"""A file mapped into memory that stays readable when it is cut off: an error that names it, not a signal that ends the process.

Whoever reads a page of a mapping whose file no longer reaches there, or whose disk fails, gets SIGBUS from the kernel,
which ends a process without a word. Here a handler puts pages of zeros in its place, so that the computation under way
comes to its end, and the mapping remembers. Whoever used it asks `check` before the result counts.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import mmap
import signal
import sys
import weakref
from typing import Any

import numpy as np

from harness.errors import DataError

__all__ = ["FileMapping"]

MAP_FIXED = 0x10  # Linux, every architecture that TensorFlow is built for
SA_SIGINFO = 4
FAULT_ADDRESS = 16  # where siginfo_t holds it on 64-bit Linux; see sigaction(2)
FAILED = ctypes.c_void_p(-1).value


class FileMapping:
    """A file as it lies in memory: pages are read when they are looked at, what is written to them stays in this process.

    Args:
      path: of the file, which is not empty.
    Raises: OSError: it cannot be opened or mapped.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        with open(path, "rb") as stream:
            # Not read-only: DLPack hands on no array that is.
            self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        self._start = int(np.frombuffer(self._map, np.uint8).ctypes.data)
        self._broken = False
        _guard().watch(self)

    def __len__(self) -> int:
        return len(self._map)

    def array(self, dtype: np.dtype, count: int, offset: int) -> np.ndarray:
        """Return so many numbers from an offset on, as they lie."""
        return np.frombuffer(self._map, dtype, count, offset)

    def advise(self, advice: int, first: int, last: int) -> None:
        """Tell the system what bytes [first, last) are wanted for; see madvise(2)."""
        first, last = first // mmap.PAGESIZE * mmap.PAGESIZE, min(last, len(self))
        if first < last:
            self._map.madvise(advice, first, last - first)

    def check(self) -> None:
        """See that all that was read was in the file.

        Raises: DataError: it has become shorter, or could not be read.
        """
        # Of the file that is open. Where it ends within a page, the rest of that page is zeros without any signal.
        size = self._map.size()
        if size < len(self):
            raise DataError(
                f"{self.path}: the file was cut off while it was read: expected {len(self)} bytes, found {size}; "
                "copy or write it again"
            )
        if self._broken:
            raise DataError(f"{self.path}: a part of the file could not be read; is its disk or file system at fault?")

    def replace(self, address: int) -> bool:
        """Put pages of zeros where one cannot be read, up to the end; return whether the address is here."""
        at = address - self._start
        if not 0 <= at < -(-len(self) // mmap.PAGESIZE) * mmap.PAGESIZE:
            return False
        self._broken = True
        first = at // mmap.PAGESIZE * mmap.PAGESIZE
        return _zeros(self._start + first, len(self) - first)


class _SigAction(ctypes.Structure):
    """struct sigaction of glibc."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ulong * (1024 // (8 * ctypes.sizeof(ctypes.c_ulong)))),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


class _Guard:
    """The handler of SIGBUS. It is called in the thread that read, at the very instruction: nothing is half done there."""

    def __init__(self) -> None:
        self._mappings: tuple[weakref.ref[FileMapping], ...] = ()
        self._before = _SigAction()
        self._handler = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(self._handle)
        if sys.platform == "linux" and sys.maxsize > 2**32:
            action = _SigAction(ctypes.cast(self._handler, ctypes.c_void_p), flags=SA_SIGINFO)
            _libc().sigaction(signal.SIGBUS, ctypes.byref(action), ctypes.byref(self._before))

    def watch(self, mapping: FileMapping) -> None:
        """Answer for a mapping as long as it is there."""
        self._mappings = (*(ref for ref in self._mappings if ref() is not None), weakref.ref(mapping))

    def _handle(self, _number: int, info: int, _context: int) -> None:
        with contextlib.suppress(Exception):  # whatever it is: the signal then does what it did before
            address = ctypes.c_void_p.from_address(info + FAULT_ADDRESS).value or 0
            for ref in self._mappings:
                if (mapping := ref()) is not None and mapping.replace(address):
                    return
        _libc().sigaction(signal.SIGBUS, ctypes.byref(self._before), None)


@functools.cache
def _guard() -> _Guard:
    return _Guard()


@functools.cache
def _libc() -> Any:
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    return libc


def _zeros(address: int, size: int) -> bool:
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_FIXED
    mapped = _libc().mmap(address, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    return bool(mapped != FAILED)
