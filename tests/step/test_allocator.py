"""Memory that is freed is kept: the next array of the size costs no new pages."""

import os
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from harness.step.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(40):
    a, b = np.ones(1 << 20), np.ones(1 << 20)  # two at once: 16 MiB
    del a, b
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(what: str) -> int:
    env = {"PYTHONPATH": os.pathsep.join(sys.path), "GLIBC_TUNABLES": "", "NUMPY_MADVISE_HUGEPAGE": "0"}
    done = subprocess.run([sys.executable, "-c", FAULTS, what], env=env, capture_output=True, text=True, check=True, timeout=120)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's parameters")
def test_arrays_of_the_same_size_are_made_of_the_same_pages() -> None:
    as_it_comes, kept = faults("leave"), faults("keep")
    assert kept < 2 * 4096 + 1000, "two arrays of 8 MiB are 4,096 pages"
    assert as_it_comes > 10 * kept
