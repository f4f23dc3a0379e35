"""Each rank counts its share of the files, and the run has the same bytes; what a rank does not see ends all of them."""

from __future__ import annotations

import json
import re

import pytest

from tests import made
from tests.ranks.forks import World

pytestmark = pytest.mark.ranks

LIMIT_S = 120


def counted(text: str) -> dict[int, int]:
    """Bytes that each rank counted."""
    return {int(rank): int(size) for rank, size in re.findall(r"rank (\d) counts (\d+) bytes", text)}


def test_each_rank_counts_its_share_and_the_bytes_are_the_same(forks, world, tmp_path):
    job = world.job(tmp_path / "job.yaml")
    results = set()
    for ranks in (1, 2, 3):
        ranked = World(
            forks, ranks, ["", "evaluate", str(job), "-o", str(tmp_path / str(ranks))], tmp_path / f"{ranks}.txt", "counting"
        )
        assert set(ranked.wait(LIMIT_S).values()) == {0}, ranked.text
        shares = counted(ranked.text)
        assert set(shares) == set(range(ranks)) and min(shares.values()) > 0
        assert sum(shares.values()) == sum((world.folder / name).stat().st_size for name, _, _ in made.FILES)
        results.add((tmp_path / str(ranks) / "metrics.json").read_bytes())
    assert len(results) == 1


def test_a_rank_that_does_not_see_a_file_ends_all_with_its_name(forks, world, tmp_path):
    job = world.job(tmp_path / "job.yaml")
    ranked = World(forks, 2, ["e.tfrecord", "evaluate", str(job), "-o", str(tmp_path / "run")], tmp_path / "said.txt", "counting")
    assert 1 in ranked.wait(LIMIT_S).values(), ranked.text
    assert re.search(
        r"e\.tfrecord: cannot be read: .*: rank 1 on \S+ does not see the file that rank 0 sees; copy the data", ranked.text
    )
    assert ranked.text.count("does not see the file") == 1 and "Traceback" not in ranked.text
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_ranks_find_the_classes_of_labels_together(forks, tmp_path, world):
    names = ["ash", "elm", "fir", "oak", "yew"]
    columns = made.examples().columns()
    rows = zip(columns["x"].tolist(), columns["label"].tolist(), strict=True)
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"x": x, "species": names[label]}) + "\n" for x, label in rows))
    data = {"files": str(tmp_path / "a.jsonl"), "label": "species", "inputs": {"x": "x"}}
    keys = {"metrics": ["accuracy", "confusion_matrix"], "slices": ["species"], "batch_size": 16, "chunk_size": 32}
    job = tmp_path / "job.yaml"
    job.write_text(json.dumps({"model": str(world.folder / "classifier"), "data": data, **keys}))
    results = set()
    for ranks in (1, 3):
        argv = ["", "evaluate", str(job), "-o", str(tmp_path / str(ranks))]
        ranked = World(forks, ranks, argv, tmp_path / f"{ranks}.txt", "counting")
        assert set(ranked.wait(LIMIT_S).values()) == {0}, ranked.text
        assert ranked.text.count("classes: 5 found in label 'species'") == 1
        results.add((tmp_path / str(ranks) / "metrics.json").read_bytes())
    assert len(results) == 1 and json.loads(results.pop())["classes"] == names
