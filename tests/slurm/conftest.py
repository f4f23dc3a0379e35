"""The cluster: brought up once for all tests that submit for real."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, missing


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two nodes with four GPUs each; Slurm's commands find it through SLURM_CONF."""
    if why := missing():
        # .ci/run installs Slurm: what is skipped elsewhere has to run there.
        if os.environ.get("HARNESS_NO_SKIP"):
            pytest.fail(f"Slurm is to be tested here, and cannot be: {why}")
        pytest.skip(f"no Slurm: {why}")
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # a socket's path is short
    made = Cluster(folder)
    made.start()
    before = dict(os.environ)
    os.environ.update(made.environ)
    # The tests may run inside a job of another cluster.
    for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_")) and name not in made.environ]:
        del os.environ[name]
    try:
        yield made
    finally:
        os.environ.clear()
        os.environ.update(before)
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)
