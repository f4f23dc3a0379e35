"""The certificate again, from files alone: each thing that can be wrong with them is named."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness.errors import RunFolderError
from harness.journal import Journal, plan_digest
from harness.plan import File, Plan, hash_ids
from harness.runfolder import RunFolder
from harness.segment import Name, Origin, Segment
from harness.verify import verify

PLAN = Plan((File("a", 0, 7), File("b", 0, 5)), 2, 4)  # chunks 0..4, 4..8, 8..12
DIGESTS = {"job": "1", "data": "2", "model": "3"}
ORIGIN = Origin(**DIGESTS, plan=plan_digest(PLAN), layout="l", software="s")
HASH = f"{sum(int(h) for h in hash_ids(np.arange(12))) % 2**64:016x}"
FIRST, SECOND = str(Name(1, 0, 1)), str(Name(2, 0, 1))


def segment(*chunks: int) -> Segment:
    counts = {chunk: PLAN[chunk].stop - PLAN[chunk].start for chunk in chunks}
    lines = [[chunk, count, PLAN.id_hash(PLAN[chunk]), count, 0, 0, 7 * chunk - 9] for chunk, count in counts.items()]
    return Segment(np.array(lines, np.int64), np.zeros(1, np.int64))


@pytest.fixture
def folder(tmp_path):
    """A run of two attempts that is done."""
    found = RunFolder(tmp_path / "run")
    found.claim(DIGESTS)
    found.clear()
    found.plan_json.write_text(json.dumps({"model": "m", **PLAN.to_dict()}))
    Journal(found.journal, ORIGIN, 1, 0).write(segment(0, 2))
    Journal(found.journal, ORIGIN, 2, 0).write(segment(1))
    found.run_json.write_text(json.dumps({"journal": [FIRST, SECOND]}))
    certificate = {"examples": 12, "chunks": 3, "id_hash": HASH}
    found.metrics_json.write_text(json.dumps({"certificate": certificate, "digests": DIGESTS}))
    return found


def test_a_run_that_is_right(folder):
    assert verify(folder) == (["verified: every one of 12 examples counted once, in 3 chunks and 2 segments"], True)


def says(folder: RunFolder, *wanted: str) -> None:
    lines, good = verify(folder)
    assert not good
    for text in wanted:
        assert any(text in line for line in lines), (text, lines)


def test_a_missing_segment_and_its_chunks_are_named(folder):
    (folder.journal / FIRST).unlink()
    says(folder, f"{FIRST} was summed, and is missing or not whole", "chunk 0 (a, records 0..4) is missing", "chunk 2 (b, records 1..5) is missing", "do not prove its result")  # fmt: skip


def test_a_torn_segment_is_named(folder):
    path = folder.journal / SECOND
    path.write_bytes(path.read_bytes()[:-40])
    says(folder, f"{SECOND} does not match its checksum", "chunk 1 (a, records 4..7; b, records 0..1) is missing")


def test_a_doubled_chunk_is_named(folder):
    Journal(folder.journal, ORIGIN, 3, 1).write(segment(2))
    assert verify(folder)[1]  # a late one, that was not summed
    third = str(Name(3, 1, 1))
    folder.run_json.write_text(json.dumps({"journal": [FIRST, SECOND, third]}))
    says(folder, "chunk 2 (b, records 1..5) was counted more than once: 8 examples for 4", f"chunk 2 is in {FIRST} and {third}")


def test_results_of_something_else_are_named(folder):
    folder.metrics_json.write_text(
        json.dumps({"certificate": {"examples": 11, "chunks": 3, "id_hash": HASH}, "digests": {**DIGESTS, "model": "x"}})
    )
    says(folder, "metrics.json certifies examples 11, plan and journal say 12", "metrics.json is of another model")


def test_segments_of_something_else_are_named(folder):
    Journal(folder.journal, Origin("1", "2", "x", ORIGIN.plan, "l", "s"), 2, 0).write(segment(1))
    says(folder, f"{SECOND} is of another model")


def test_a_run_that_is_not_finished(folder):
    folder.metrics_json.unlink()
    (folder.journal / SECOND).unlink()
    says(
        folder,
        "this run is not finished: 1 of 3 chunks are not in the journal, --resume evaluates them",
        "chunk 1 (a, records 4..7",
    )


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(RunFolderError, match="expected plan.json and job.json"):
        verify(RunFolder(tmp_path))


def test_a_run_without_its_account(folder):
    folder.run_json.unlink()
    says(folder, "run.json is missing or torn: it names the segments that were summed")
