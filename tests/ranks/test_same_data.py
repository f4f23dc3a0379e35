"""Data that change: while a run is evaluated, between a kill and --resume, behind a finished run. Each is named, exit code 1."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from harness.folder.run_folder import RunFolder, read_json
from tests import made
from tests.conftest import ROOT, start
from tests.ranks.forks import Forks, World
from tests.ranks.test_resume import alone, committed

pytestmark = pytest.mark.ranks

SLOW = "0.15"
EXAMPLES = made.examples()


def write(kind: str, folder: Path, label: np.ndarray) -> list[str]:
    """Write the examples with some labels; the files are as large whatever the labels are."""
    folder.mkdir(exist_ok=True)
    columns = {**EXAMPLES.columns(), "label": label}
    if kind == "npz":
        np.savez(folder / "val.npz", **columns)
        return [str(folder / "val.npz")]
    if kind == "npy":
        for name, array in columns.items():
            np.save(folder / f"{name}.npy", array)
        return [str(folder / "*.npy")]
    made.write_tfrecord(folder / "val.tfrecord", made.records(columns))
    return [str(folder / "val.tfrecord")]


OTHER = (EXAMPLES.label + 1) % 5  # of the same size in every format


class Case:
    """Data of a kind, a job, and the result that a quiet run of it gives."""

    def __init__(self, kind: str, forks: Forks, world, folder: Path) -> None:
        self.kind, self.forks, self.data, self.run = kind, forks, folder / "data", folder / "run"
        files = write(kind, self.data, EXAMPLES.label)
        self.job = world.job(folder / "job.yaml", chunk_size=8, batch_size=8, data={"files": files})

    def evaluate(self, *more: str, slow: str = "0", wanted: int = 0, meanwhile=lambda world: None, folder: Path | None = None):
        words = ["evaluate", self.job, "-o", folder or self.run, *more]
        return alone(self.forks, folder or self.run, slow, *words, wanted=wanted, meanwhile=meanwhile)

    def quiet(self) -> bytes:
        self.evaluate(folder=self.run.parent / "quiet")
        return (self.run.parent / "quiet" / "metrics.json").read_bytes()

    def killed(self) -> None:
        """Leave a run that was killed after two commits."""

        def kill(world: World) -> None:
            committed(RunFolder(self.run), 2, lambda: world.kill(0, signal.SIGKILL))

        self.evaluate(slow=SLOW, wanted=-signal.SIGKILL, meanwhile=kill)

    @property
    def journal(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.run / "journal").glob("*.segment")}


@pytest.fixture
def case(forks, world, tmp_path):
    return lambda kind: Case(kind, forks, world, tmp_path)


@pytest.mark.parametrize("kind", ["npz", "tfrecord", "npy"])
def test_other_data_between_a_kill_and_resume(kind, case):
    here = case(kind)
    quiet = here.quiet()
    here.killed()
    before = here.journal
    assert before and not (here.run / "metrics.json").exists()
    (path,) = write(kind, here.data, OTHER)
    text = here.evaluate("--resume", wanted=1)
    named = path.replace("*", "label")
    assert f"{named} is not as it was: " in text, text
    assert "chunk 0 (" in text and "holds other data than when it was evaluated" in text and "Nothing is lost" in text, text
    assert here.journal == before and not (here.run / "metrics.json").exists()
    assert read_json(here.run / "status.json")["exit_code"] == 1
    # The old data, written anew: other times, the same contents.
    write(kind, here.data, EXAMPLES.label)
    text = here.evaluate("--resume")
    assert "chunks of the data were read again: they hold what was evaluated" in text, text
    assert (here.run / "metrics.json").read_bytes() == quiet
    assert "read again" not in here.evaluate(), "what was found is kept"


def test_the_user_may_say_that_the_data_are_the_same(case):
    here = case("npz")
    here.killed()
    write("npz", here.data, EXAMPLES.label)
    assert "read again" not in here.evaluate("--resume", "--same-data")
    assert read_json(here.run / "run.json")["attempts"][-1]["same_data"] is True
    assert (here.run / "metrics.json").read_bytes() == here.quiet()


def changing(here: Case, change) -> str:
    """Change the data when something has been committed; return what the run says, which ends with 1."""
    text = here.evaluate(slow=SLOW, wanted=1, meanwhile=lambda world: committed(RunFolder(here.run), 2, change))
    assert not (here.run / "metrics.json").exists() and here.journal
    return text


@pytest.mark.parametrize("longer", [False, True])
def test_a_file_that_is_replaced_by_a_rename_in_mid_run(longer, case, tmp_path):
    here = case("tfrecord")
    quiet, path = here.quiet(), here.data / "val.tfrecord"
    kept = shutil.copy2(path, tmp_path / "kept")
    records = made.records({**EXAMPLES.columns(), "label": OTHER})
    made.write_tfrecord(tmp_path / "new", [b"first", *records] if longer else records)
    text = changing(here, lambda: os.replace(tmp_path / "new", path))
    assert f"{path} changed while it was evaluated: " in text and "inode " in text, text
    os.replace(kept, path)
    here.evaluate("--resume")
    assert (here.run / "metrics.json").read_bytes() == quiet


def test_an_array_that_is_changed_in_place_in_mid_run(case):
    here = case("npy")
    quiet, path = here.quiet(), here.data / "label.npy"
    whole = path.read_bytes()

    def flip(by: int) -> None:
        with path.open("r+b") as stream:
            stream.seek(len(whole) - 8)
            stream.write(bytes([whole[-8] ^ by]))

    text = changing(here, lambda: flip(1))
    assert f"{path} changed while it was evaluated: changed " in text, text
    flip(0)
    here.evaluate("--resume")
    assert (here.run / "metrics.json").read_bytes() == quiet


def test_a_finished_run_whose_data_changed(case):
    here = case("tfrecord")
    path = here.data / "val.tfrecord"
    here.evaluate()
    before = (here.run / "metrics.json").read_bytes()
    assert "read again" not in (text := here.evaluate()) and "this run is done already" in text
    write("tfrecord", here.data, OTHER)
    text = here.evaluate(wanted=1)
    assert f"{path} is not as it was: " in text and "holds other data than when it was evaluated" in text, text
    assert (here.run / "metrics.json").read_bytes() == before
    write("tfrecord", here.data, EXAMPLES.label)
    text = here.evaluate()
    assert "26 chunks of the data were read again" in text and "this run is done already" in text, text
    # Where they cannot be compared the user decides.
    shutil.rmtree(here.run / "journal")
    assert "this run is done already" in here.evaluate()
    os.utime(path, ns=(1, 1))
    text = here.evaluate(wanted=1)
    assert f"{path} is not as it was: " in text and "cannot be told: chunk 0 is not in " in text and "--same-data" in text, text
    assert "this run is done already" in here.evaluate("--same-data")
    (here.run / "data.json").write_text("[[[")
    text = here.evaluate(wanted=1)
    assert f"{here.run / 'data.json'} is missing or torn" in text, text


def test_a_file_of_another_size_is_named(case):
    here = case("tfrecord")
    here.evaluate()
    path = here.data / "val.tfrecord"
    size = path.stat().st_size
    made.write_tfrecord(path, made.records(EXAMPLES.columns(), 0, 200))
    for more in ((), ("--resume",)):
        text = here.evaluate(*more, wanted=1)
        now = f"has {path.stat().st_size} and 200 now"
        assert f"{path} had {size} bytes and 203 examples, and {now}: these are other data" in text, text
    assert (here.run / "metrics.json").exists()


def test_ranks_share_the_look_at_changed_data(case, world):
    here = case("tfrecord")
    here.evaluate()
    write("tfrecord", here.data, EXAMPLES.label)
    words = ["mpirun", "-np", "2", "harness", "evaluate", here.job, "-o", here.run]
    done = start(words, ROOT)
    assert done.code == 0 and done.err.count("26 chunks of the data were read again") == 1, done.text
    columns = EXAMPLES.columns()
    columns["label"][190] += 1
    made.write_tfrecord(here.data / "val.tfrecord", made.records(columns))
    done = start(words, ROOT)
    assert done.code != 0 and "chunk 23 (" in done.err, done.text
    assert done.err.count("harness: error: ") == 1, done.text


def test_what_was_seen_is_in_the_run_folder(case):
    here = case("npz")
    here.evaluate()
    document = json.loads((here.run / "data.json").read_text())
    found = (here.data / "val.npz").stat()
    assert document["seen"] == [
        {
            "hosts": [os.uname().nodename],
            "files": [[str(here.data / "val.npz"), found.st_size, found.st_ino, found.st_mtime_ns, ""]],
        }
    ]
    assert document["reading"]["hashed"] == ["label", "x"]
