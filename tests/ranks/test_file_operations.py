"""What ranks ask of the run folder's file system while their loop runs: counted in real ranks."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import LIMIT_S, ROOT
from tests.ranks import counted
from tests.ranks.forks import Forks, World

pytestmark = pytest.mark.ranks

RANKS = 6


def test_ranks_ask_little_of_the_file_system_and_hear_each_other_without_it(world, tmp_path):
    job = world.job(tmp_path / "job.yaml", chunk_size=8, batch_size=8)
    run, counts = tmp_path / "run", tmp_path / "counts"
    counts.mkdir()
    forks = Forks(ROOT)
    try:
        argv = ["1.5", "evaluate", str(job), "-o", str(run)]
        started = World(forks, RANKS, argv, tmp_path / "out.txt", more={counted.VARIABLE: f"{run}:{counts}"})
        assert set(started.wait(LIMIT_S).values()) == {0}, started.text
    finally:
        forks.close()
    ranks = [json.loads((counts / f"{rank}.json").read_text()) for rank in range(RANKS)]
    seconds = min(rank["seconds"] for rank in ranks)
    assert seconds > 3  # long enough to tell a rate
    total: Counter[str] = sum((Counter(rank["counts"]) for rank in ranks), Counter())
    rates = {name: count / seconds for name, count in total.items()}
    assert sum(rates.values()) < 50, rates
    first = ranks[0]
    assert first["counts"]["open progress"] <= 3 * first["seconds"] + 2  # its own, that of all, a request; no others'
    assert first["counts"]["rename progress"] >= first["seconds"] / 2 - 1  # and its own is written, on two busy cores too
    assert rates["look stop"] <= 2 + 4 + 1
    assert "ranks tell how they stand in files" not in started.text
    assert Path(run / "metrics.json").exists()
