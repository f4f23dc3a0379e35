"""How a process of the harness ends: at once, whatever its threads do, and without leaving temporary files behind.

TensorFlow's AutoGraph writes the code that it generates into the temporary directory, and removes it when the interpreter
exits. Ours does not: threads of the pipeline may still be reading, and MPI may be waiting for ranks that are gone.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn

from harness.names.log import LOG

__all__ = ["exit_process", "remove_generated_files"]

GENERATED = "__autograph_generated_file"  # what the names of AutoGraph's modules begin with


def exit_process(code: int) -> NoReturn:
    """End this process with an exit code, without running what is registered for the interpreter's exit."""
    remove_generated_files()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # nobody reads any longer
            stream.flush()
    LOG.end()
    os._exit(code)


def remove_generated_files() -> None:
    """Remove the files of the modules that AutoGraph has generated in this process, and of their bytecode."""
    for name in list(sys.modules):
        spec = sys.modules[name].__spec__ if name.startswith(GENERATED) else None
        for path in filter(None, (spec.origin, spec.cached) if spec else ()):
            with contextlib.suppress(OSError):  # gone already
                os.unlink(path)
