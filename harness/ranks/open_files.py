"""How many files this process may open: raised for what needs many, with a few kept back for the words of a rank that fails.

A rank that has no descriptor left fails, and could neither say so in the run folder nor leave its exit code: the others
would then be taken for the reason.
"""

from __future__ import annotations

import contextlib
import resource

__all__ = ["LAST", "allow", "keep_some_back", "release"]

LAST = 16  # for the last words


def keep_some_back() -> None:
    """Lower the limit by a few, where it is as high as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and (soft == resource.RLIM_INFINITY or soft > hard - LAST):
        _set(max(hard - LAST, min(hard, 2 * LAST)), hard)


def release() -> None:
    """Let this process open the few that were kept back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        _set(soft + LAST if hard == resource.RLIM_INFINITY else min(soft + LAST, hard), hard)


def allow(wanted: int) -> int:
    """Raise the limit to so many, as far as it may be; return it. A few are kept back all the same."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard - LAST)
    if soft < most:
        _set(most, hard)
    return max(soft, most)


def _set(soft: int, hard: int) -> None:
    with contextlib.suppress(OSError, ValueError):  # a container may forbid it
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
