"""Files appear whole, whoever writes the same one at the same time: ranks of several hosts may have one process id."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from harness_launch.slurm import Slurm, submit

from harness.data.pass_cache import Entry
from harness.data.tfrecord_index import index_path, write_index
from harness.folder.run_folder import RunFolder, write_atomically
from tests import made

WRITERS, TIMES = 8, 30


def together(work: Callable[[int], object]) -> list[BaseException]:
    """Do something in several threads at once: they share a process id, as processes of two hosts may."""
    errors: list[BaseException] = []
    start = threading.Barrier(WRITERS)

    def run(number: int) -> None:
        start.wait()
        try:
            for _ in range(TIMES):
                work(number)
        except BaseException as exc:  # noqa: BLE001 - whatever it is, the test says it
            errors.append(exc)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_a_file_of_a_run(tmp_path):
    path = tmp_path / "plan.json"

    def work(number: int) -> None:
        write_atomically(path, bytes([65 + number]) * 100_000)
        assert len(set(path.read_bytes())) == 1

    assert together(work) == []
    assert os.listdir(tmp_path) == ["plan.json"]


def test_requests_of_several_ranks(tmp_path):
    folder = RunFolder(tmp_path)
    assert together(lambda number: [folder.ask_to_stop(1, "x"), folder.record_failure(str(number))]) == []
    assert sorted(os.listdir(tmp_path)) == ["failure.json", "stop"]


def test_an_index_beside_its_file(tmp_path):
    path = tmp_path / "a.tfrecord"
    made.write_tfrecord(path, [b"x" * 10] * 50)
    assert together(lambda _: write_index(str(path))) == []
    assert len(Path(index_path(str(path))).read_text().splitlines()) == 50
    assert sorted(os.listdir(tmp_path)) == ["a.tfrecord", "a.tfrecord.idx"]


def test_an_index_in_a_home_that_hosts_share(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("harness.data.pass_cache._content_key", lambda path: path)
    seen = set()

    def work(number: int) -> None:
        Entry.of("a.tfrecord", "index").store(np.full(10_000, number))
        seen.add(len(set(Entry.of("a.tfrecord", "index").load())))

    assert together(work) == [] and seen == {1}
    assert len(os.listdir(tmp_path / "cache")) == 1


def test_a_script_to_submit(tmp_path):
    class Silent(Slurm):
        def submit(self, path: Path, *options: str) -> str:
            return "1"

    assert together(lambda number: submit(str(number) * 100_000, tmp_path, Silent())) == []
    assert len(os.listdir(tmp_path)) == 1


@pytest.mark.parametrize("name", ["launch/install"])
def test_shell_scripts_name_the_host_too(name):
    text = (Path(__file__).parent.parent.parent / name).read_text()
    assert ".$$" not in text.replace("$(uname -n).$$", "")
