"""The C library's allocator, told to keep what was freed: a pipeline frees and takes the same megabytes with every block.

By default glibc gives each large array back to the system when it is freed, and the next one is made of new pages, each of
which costs a fault; with records of a few kilobytes that was a third of a pipeline's processor time. Only a process of our
own may be told so: in that of a user's script the memory is theirs to decide on. Source of the parameters: mallopt(3).
"""

from __future__ import annotations

import ctypes

__all__ = ["keep_freed_memory"]

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3  # mallopt's numbers
LARGEST_KEPT = 32 << 20  # bytes of one array; glibc takes no more
TAKEN_AT_ONCE = 64 << 20  # bytes of addresses, not of memory: a page that nobody writes to is none
KEPT = 256 << 20  # bytes that are free and not given back, at most


def keep_freed_memory() -> bool:
    """Have this process keep freed memory for its next arrays; say whether the C library can (glibc can)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    settings = {MMAP_THRESHOLD: LARGEST_KEPT, TOP_PAD: TAKEN_AT_ONCE, TRIM_THRESHOLD: KEPT}
    return all([bool(mallopt(parameter, value)) for parameter, value in settings.items()])
