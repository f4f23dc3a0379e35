"""What Horovod was built with: from a note that launch/install writes, else from what its library holds.

Asking Horovod itself loads TensorFlow, which takes seconds: `python -m harness_launch.horovod_build NOTE` does so once, when the
environment is made. Nothing else here loads either of them.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import mmap
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import HarnessError

__all__ = ["HorovodBuild", "note_path", "of_library", "of_note", "this_build"]

NOTE = "horovod_build.json"  # in the environment
# What the library asks of others, or has itself, when a part was built.
SYMBOLS = {"mpi": b"\0MPI_Allreduce\0", "gloo": b"GlooContext10Initialize"}
ASK = """
import json
import horovod.tensorflow as hvd
print(json.dumps({"mpi": bool(hvd.mpi_built()), "gloo": bool(hvd.gloo_built())}))
"""
ASK_TIMEOUT_S = 300


@dataclass(frozen=True)
class HorovodBuild:
    """The ways in which ranks can talk."""

    mpi: bool = False
    gloo: bool = False


@functools.cache
def this_build() -> HorovodBuild:
    """Return what the Horovod of this environment was built with; nothing where there is none."""
    library = library_path()
    if library is None:
        return HorovodBuild()
    return of_note(note_path(), library) or of_library(library)


def note_path() -> Path:
    """Return where launch/install leaves its note."""
    return Path(sys.prefix) / NOTE


def library_path() -> Path | None:
    """Return Horovod's library for TensorFlow; None where it is not installed."""
    spec = importlib.util.find_spec("horovod")
    folders = spec.submodule_search_locations if spec else None
    return next((path for folder in folders or [] for path in Path(folder).glob("tensorflow/mpi_lib*.so")), None)


def of_note(note: Path, library: Path) -> HorovodBuild | None:
    """Return what a note says of a library; None where there is none, or it is about another: somebody built Horovod anew."""
    try:
        document = json.loads(note.read_text())
        if document["library"] != _identity(library):
            return None
        return HorovodBuild(mpi=document["built"]["mpi"] is True, gloo=document["built"]["gloo"] is True)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def of_library(library: Path) -> HorovodBuild:
    """Return what a library was built with, from the symbols in it; its 50 MB are looked through."""
    try:
        with library.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return HorovodBuild(**{name: content.find(symbol) >= 0 for name, symbol in SYMBOLS.items()})
    except (OSError, ValueError):  # an empty file cannot be mapped
        return HorovodBuild()


def _identity(library: Path) -> dict[str, int | str]:
    state = library.stat()
    return {"path": str(library), "size_bytes": state.st_size, "mtime_ns": state.st_mtime_ns}


def write_note(note: Path) -> None:
    """Ask Horovod what it was built with, and note it down.

    Raises: HarnessError: it is not installed, or cannot be loaded.
    """
    library = library_path()
    if library is None:
        raise HarnessError("Horovod is not installed in this environment; launch/install builds it")
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, timeout=ASK_TIMEOUT_S, check=False)
    if done.returncode:
        raise HarnessError(f"Horovod cannot be loaded, so it does not say what it was built with: {done.stderr.strip()[-500:]}")
    built = HorovodBuild(**json.loads(done.stdout.strip().splitlines()[-1]))
    note.write_text(json.dumps({"built": asdict(built), "library": _identity(library)}, indent=1) + "\n")


if __name__ == "__main__":
    write_note(Path(sys.argv[1]))
