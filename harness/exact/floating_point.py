"""The processor's floating-point mode of a thread: whether numbers next to zero are kept. The standard library alone.

TensorFlow's threads take subnormal numbers for zero (1e-39 in float32, 1e-310 in float64), and with them all Python
that runs on one: NumPy's comparisons, and even float("1e-310"). Reading, parsing and scoring on the host see numbers as
they are.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

__all__ = ["subnormals_kept", "with_subnormals"]

T = TypeVar("T")
ENVIRONMENT_BYTES = 256  # more than any fenv_t
DEFAULT = ctypes.c_void_p(-1)  # FE_DFL_ENV of the C libraries of Linux: round to nearest, flush nothing


def _library() -> Any:
    """Return the C library's functions; None where the default environment is not known."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "fegetenv") and hasattr(library, "fesetenv") else None


_C = _library()


@contextmanager
def subnormals_kept() -> Iterator[None]:
    """Compute with subnormal numbers in this thread for a while, and then as before.

    >>> with subnormals_kept():
    ...     1e-310 / 2
    5e-311
    """
    if _C is None:
        yield
        return
    before = ctypes.create_string_buffer(ENVIRONMENT_BYTES)
    _C.fegetenv(before)
    _C.fesetenv(DEFAULT)
    try:
        yield
    finally:
        _C.fesetenv(before)


def with_subnormals(generate: Callable[[], Generator[T, None, None]]) -> Callable[[], Iterator[T]]:
    """Return a generator function whose every step computes with subnormal numbers, on whichever thread it is taken."""

    def generated() -> Iterator[T]:
        steps = generate()
        end = object()
        try:
            while True:
                with subnormals_kept():
                    step = next(steps, end)
                if step is end:
                    return
                yield cast(T, step)
        finally:
            steps.close()

    return generated
