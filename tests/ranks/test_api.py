"""Python's door gives the bits of the command line, at any number of ranks, over MPI and Gloo, in a world of its own or the user's."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Made, over_ranks, start

pytestmark = pytest.mark.ranks


def worker(world: Made, out: Path, *before: str, init: bool) -> list[dict]:
    """Run the script; return what each rank found."""
    out.mkdir()
    argv = [*before, sys.executable, "-m", "tests.ranks.api_worker", world.folder, out, *(["init"] if init else [])]
    done = start(argv, ROOT, {"HARNESS_THREADS": "1"})
    assert done.code == 0, done.text
    return [json.loads(path.read_text()) for path in sorted(out.glob("rank-*.json"))]


@pytest.fixture(scope="module")
def alone(world: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a single process without Horovod finds."""
    out = tmp_path_factory.mktemp("api") / "alone"
    (found,) = worker(world, out, init=False)
    # The same examples in three forms, and a model that is the same function in two.
    assert found["arrays"]["metrics"] == found["dataset"]["metrics"] == found["examples"]["metrics"] == found["files"]["metrics"]
    assert found["function"]["metrics"] == found["arrays"]["metrics"]
    accuracy = found["arrays"]["metrics"]["accuracy"]
    assert [found["mixed"]["metrics"][f"{name}/accuracy"] for name in ("object", "path", "function")] == 3 * [accuracy]
    assert found["weights"]["metrics"]["accuracy"]["value"] != found["arrays"]["metrics"]["accuracy"]["value"]
    assert found["other weights"]["metrics"]["accuracy"]["value"] < 0.1 < found["arrays"]["metrics"]["accuracy"]["value"]
    return out


def test_the_files_of_a_run_are_those_of_the_command_line(alone, world, harness, tmp_path):
    job = world.job(
        tmp_path / "job.yaml", slices=["label"], bootstrap={"replicates": 20},
        metrics=["accuracy", {"top_k": {"k": 2}}, "cross_entropy", "confusion_matrix", {"roc_auc": {"positive": 1}}],
    )  # fmt: skip
    done = harness("evaluate", job, "-o", tmp_path / "run")
    assert done.code == 0, done.text
    for name in ("metrics.json", "metrics.csv", "confusion_matrix.csv", "job.json"):
        assert (alone / "run" / name).read_bytes() == (tmp_path / "run" / name).read_bytes(), name
    both = {"first": str(world.folder / "classifier"), "second": str(world.folder / "classifier.keras")}  # in YAML sorted
    job = world.job(tmp_path / "several.yaml", model=None, models=both, bootstrap={"replicates": 5})
    done = harness("evaluate", job, "-o", tmp_path / "several")
    assert done.code == 0, done.text
    for name in ("metrics.json", "metrics.csv", "job.json"):
        assert (alone / "several" / name).read_bytes() == (tmp_path / "several" / name).read_bytes(), name
    done = harness("verify", alone / "run")
    assert done.code == 0 and "every one of 203 examples counted once" in done.out, done.text


@pytest.mark.parametrize(("comm", "size", "init"), [("mpi", 3, True), ("gloo", 2, True), ("mpi", 2, False)])
def test_all_ranks_find_what_one_finds(comm, size, init, alone, world, tmp_path, harness):
    each = worker(world, tmp_path / "out", *over_ranks(size, comm, []), init=init)
    assert len(each) == size
    (one,) = [json.loads(path.read_text()) for path in alone.glob("rank-*.json")]
    one["differing weights"]["digests"].pop("model")
    for found in each:
        found["differing weights"]["digests"].pop("model")
        assert found == one
    for name in ("run", "several"):
        assert (tmp_path / "out" / name / "metrics.json").read_bytes() == (alone / name / "metrics.json").read_bytes()
    run = json.loads((tmp_path / "out" / "run" / "run.json").read_text())["attempts"][0]
    assert (run["comm"], run["size"], run["canary"]) == (comm, size, "alike")
    done = harness("verify", tmp_path / "out" / "run")
    assert done.code == 0, done.text
