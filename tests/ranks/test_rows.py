"""Rows over real ranks: one launch a message layer, many checks in each; see rows_worker.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.ranks
@pytest.mark.parametrize("over", ["mpi", "gloo"])
def test_rows_over_horovod(over: str) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "OMPI_MCA_mpi_yield_when_idle": "1",
    }
    command = ["horovodrun", "-np", "3", f"--{over}", sys.executable, "-m", "tests.ranks.rows_worker"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"all is well on 3 ranks over {over}" in done.stdout
