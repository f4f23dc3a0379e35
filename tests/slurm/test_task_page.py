"""docs/tasks/slurm.md on a cluster: the commands that the other tests of the page cannot run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import start
from tests.slurm.cluster import Cluster
from tests.test_tasks import blocks, prepared


@pytest.mark.ranks
def test_the_commands_of_the_page_submit_what_ends_well(cluster: Cluster, tmp_path: Path) -> None:
    folder = prepared(tmp_path)
    lines = [line.removeprefix("$ ") for _, text in blocks("slurm.md", on_a_cluster=True) for line in text.splitlines()]
    assert [line.split()[1] for line in lines] == ["submit", "show", "submit"]
    for line in lines:
        done = start(["bash", "-ec", line], folder)
        assert done.code == 0, f"{line}\n{done.text[-3000:]}"
    summary = pd.read_csv(folder / "runs" / "sweep" / "summary.csv")
    assert len(summary) == 2 and summary["accuracy"].between(0.2, 1).all()
