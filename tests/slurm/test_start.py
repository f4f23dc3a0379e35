"""How ranks of several nodes begin under srun: nobody writes to a rank that cannot read yet (decision 38)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from harness_launch.slurm_text import BODY

from tests.conftest import start
from tests.slurm.cluster import Cluster

pytestmark = pytest.mark.ranks

LATE_S = 2.0
# PMIx's own barrier without data, as MPI_Init calls it, of the library that Open MPI brings: how long it holds a rank.
BARRIER = f"""\
import ctypes, glob, os, sys, time
library = ctypes.CDLL(glob.glob(os.path.join(sys.prefix, "lib", "libopen-pal.so.*"))[0])
place = ctypes.create_string_buffer(1 << 12)
assert library.PMIx_Init(place, None, ctypes.c_size_t(0)) == 0
barrier = lambda: library.PMIx_Fence(None, ctypes.c_size_t(0), None, ctypes.c_size_t(0))
if os.environ["PMIX_RANK"] == "0":
    time.sleep({LATE_S})
begun = time.monotonic()
assert barrier() == 0
print("rank", os.environ["PMIX_RANK"], "was held for", time.monotonic() - begun, "s", flush=True)
assert library.PMIx_Finalize(None, ctypes.c_size_t(0)) == 0
"""


def test_a_rank_that_is_ahead_is_held_until_the_others_are_there(cluster: Cluster, tmp_path: Path) -> None:
    """With the line of the batch script that says so; this Slurm has the defect, or the line is needed no longer."""
    (line,) = [line for line in BODY.splitlines() if line.startswith("export SLURM_PMIX_FENCE=")]
    program = tmp_path / "barrier.py"
    program.write_text(BARRIER)
    srun = f"srun --nodes=2 --ntasks-per-node=1 --mpi=pmix {sys.executable} {program}"
    assert _held_s(line, srun, tmp_path) > LATE_S / 2
    assert _held_s("export SLURM_PMIX_FENCE=tree", f"{line}\n{srun}", tmp_path) < LATE_S / 2  # what the user has set stays


def _held_s(setting: str, commands: str, folder: Path) -> float:
    """Return how long the rank that is ahead waited."""
    done = start(["bash", "-c", f"{setting}\n{commands}"], folder)
    assert done.code == 0, done.text
    held = {words[1]: float(words[5]) for words in map(str.split, done.out.splitlines()) if words[:1] == ["rank"]}
    assert sorted(held) == ["0", "1"], done.text
    return held["1"]
