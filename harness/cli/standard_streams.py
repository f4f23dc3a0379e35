"""Standard streams that whoever started the command has closed: open onto nothing, so that all else may rely on them."""

from __future__ import annotations

import os
import sys

__all__ = ["open_closed_streams"]

MODES = {"stdin": "r", "stdout": "w", "stderr": "w"}  # in the order of their descriptors


def open_closed_streams() -> None:
    """Open the standard streams that are closed, as if they were redirected to the null device.

    Their descriptors are taken first of all: a file opened later would get them, and what libraries print would go into it.
    """
    for descriptor, (name, mode) in enumerate(MODES.items()):
        if getattr(sys, name) is not None:
            continue
        stream = open(_null(descriptor), mode, errors="backslashreplace")  # noqa: SIM115 -- open as long as the process
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _null(descriptor: int) -> int | str:
    """Have a descriptor lead nowhere, here and in processes that are started; where it is in use, return what else does."""
    try:
        os.fstat(descriptor)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null == descriptor:
            os.set_inheritable(descriptor, True)
        else:
            os.dup2(null, descriptor)
            os.close(null)
        return descriptor
    return os.devnull
