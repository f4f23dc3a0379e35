"""The certificate again, from files alone: each thing that can be wrong with them is named."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from harness.errors import RunFolderError
from harness.exact.splitmix import hash_ids
from harness.folder.journal import Journal, plan_digest
from harness.folder.run_folder import RunFolder
from harness.folder.segment import MAGIC, Name, Origin, Torn, read_segment
from harness.job.job import Job
from harness.plan.plan import File, Plan
from harness.run.verify import verify
from harness.sums.grid import GridLayout, GridState
from harness.sums.layout import Layout
from harness.sums.sums import Sums
from tests.folder.claimed import claimed

PLAN = Plan((File("a", 0, 7), File("b", 0, 5)), 2, 4)  # chunks 0..4, 4..8, 8..12
JOB = Job.from_dict({"model": "m", "data": {"files": "a.npz"}, "metrics": ["accuracy"]})
DIGESTS = {"job": "1", "data": "2", "model": "3"}
ORIGIN = Origin(**DIGESTS, plan=plan_digest(PLAN), layout="l", software="s")
HASH = f"{sum(int(h) for h in hash_ids(np.arange(12))) % 2**64:016x}"
CONTENT = f"{(-9 - 2 + 5) % 2**64:016x}"  # see `segment`
FIRST, SECOND = str(Name(1, 0, 1)), str(Name(2, 0, 1))


NO_GRID = GridState.zero(GridLayout((), (), (), (), Layout((), ())), 1)


def segment(*chunks: int) -> Sums:
    counts = {chunk: PLAN[chunk].stop - PLAN[chunk].start for chunk in chunks}
    lines = [
        [chunk, count, PLAN.id_hash(PLAN[chunk]), count, 0, 0, PLAN.id_hash(PLAN[chunk]), 7 * chunk - 9]
        for chunk, count in counts.items()
    ]
    return Sums(np.array(lines, np.int64), np.zeros(1, np.int64), NO_GRID)


@pytest.fixture
def folder(tmp_path):
    """A run of two attempts that is done."""
    found = RunFolder(tmp_path / "run")
    claimed(found, DIGESTS, JOB)
    found.clear()
    found.plan_json.write_text(json.dumps({"model": "m", **PLAN.to_dict()}))
    Journal(found.journal, ORIGIN, 1, 0).write(segment(0, 2))
    Journal(found.journal, ORIGIN, 2, 0).write(segment(1))
    found.run_json.write_text(json.dumps({"journal": [FIRST, SECOND]}))
    certificate = {"examples": 12, "chunks": 3, "id_hash": HASH, "content_hash": CONTENT}
    found.metrics_json.write_text(json.dumps({"certificate": certificate, "digests": DIGESTS}))
    return found


def test_a_run_that_is_right(folder):
    lines, good = verify(folder)
    assert good and lines == [
        "verified: every one of 12 examples counted once, in 3 chunks and 2 segments",
        "verified: metrics.json certifies these examples and the contents read of them, and is of the same job, data and model as "
        "the journal",
        "not verified: the values in metrics.json and the tables; there is no question.json",
        "not verified: the sums in the segments; a checksum tells damage, not what somebody wrote on purpose",
        "not verified: that question.json is what the job asked; it is what was asked when the segments were written",
        "not verified: that the data and the model still are what they were; their files were not looked at",
    ]


def test_an_edited_value_is_not_said_to_be_verified(folder):
    document = json.loads(folder.metrics_json.read_text())
    folder.metrics_json.write_text(json.dumps({**document, "metrics": {"accuracy": {"value": 0.99, "examples": 12}}}))
    lines, good = verify(folder)
    assert good and any(line.startswith("not verified: the values in metrics.json") for line in lines)


def test_an_edited_state_with_a_valid_checksum_is_not_said_to_be_verified(folder):
    forged = segment(1)
    forged.state[0] = 7
    Journal(folder.journal, ORIGIN, 2, 0).write(forged)
    lines, good = verify(folder)
    assert good and any(line.startswith("not verified: the sums in the segments") for line in lines)


def test_other_contents_and_counts_are_named(folder):
    document = json.loads(folder.metrics_json.read_text())
    document["certificate"] |= {"content_hash": "00", "kept": 11}
    folder.metrics_json.write_text(json.dumps(document))
    says(
        folder,
        f"certifies content_hash 00, plan and journal say {CONTENT}",
        "certifies kept 11, plan and journal say nothing of it",
    )
    document["certificate"] = {"examples": 12, "chunks": 3, "id_hash": HASH}
    folder.metrics_json.write_text(json.dumps(document))
    says(folder, f"certifies content_hash None, plan and journal say {CONTENT}")


def test_a_run_without_a_content_hash_says_why(folder):
    document = json.loads(folder.metrics_json.read_text())
    document["certificate"] |= {"content_hash": None, "content_reason": "only a part is there"}
    folder.metrics_json.write_text(json.dumps(document))
    lines, good = verify(folder)
    assert good and "contents" not in "".join(lines)


NONSENSE = [
    "",
    "{",
    "[]",
    "null",
    "7",
    '"x"',
    "NaN",
    "{}",
    "[" * 5000,
    '{"a":' * 5000,
    "\xff",
    '{"files": 1}',
    '{"certificate": []}',
]


@pytest.mark.parametrize("name", ["plan.json", "job.json", "run.json", "metrics.json"])
@pytest.mark.parametrize("text", NONSENSE)
def test_a_broken_document_is_a_verdict(folder, name, text):
    (folder.path / name).write_text(text)
    lines, good = verify(folder)
    assert not good and any(name in line for line in lines), lines


FORGED = [
    {"files": [{"path": "a", "size_bytes": 0, "examples": 10**15}]}, {"files": [{"path": "a", "size_bytes": 0, "examples": 2**70}]},
    {"files": [{"path": "a", "size_bytes": 0, "examples": -12}]}, {"files": [{"path": "a", "size_bytes": 0, "examples": "12"}]},
    {"files": [{"path": "a", "size_bytes": None, "examples": 12}]}, {"files": [{"path": 3, "size_bytes": 0, "examples": 12}]},
    {"files": [{"size_bytes": 0, "examples": 12}]}, {"files": [{"path": "a", "size_bytes": 0, "examples": 12, "x": 1}]},
    {"files": {"path": "a"}}, {"files": [7]}, {"files": []}, {"chunk_size": 0}, {"chunk_size": -4}, {"chunk_size": 2.5},
    {"chunk_size": True}, {"batch_size": "2"}, {"chosen": [1, 2]}, {"chosen": "x"}, {"hashes": [[1]]}, {"hashes": [1, 2**80, 3]},
    {"drawn": 3}, {"drawn": {"examples": [2**62], "share": 0.5, "limit": None}}, {"drawn": {"examples": [12], "share": 2, "limit": None}},
    {"drawn": {"examples": [12], "share": None, "limit": 11}}, {"chunk_size": 10**30}, {"chunk_size": 5},
]  # fmt: skip


@pytest.mark.parametrize("change", FORGED)
def test_a_forged_plan_is_a_verdict(folder, change):
    folder.plan_json.write_text(json.dumps({"model": "m", **PLAN.to_dict(), **change}))
    lines, good = verify(folder)
    assert not good and lines


@pytest.mark.parametrize(
    "change",
    [
        {"certificate": None}, {"certificate": {"examples": True}}, {"certificate": {"examples": [12]}}, {"digests": None},
        {"digests": [1]}, {"certificate": {"examples": 1e400}}, {"digests": {"job": {"a": 1}}},
    ],
)  # fmt: skip
def test_a_forged_result_is_a_verdict(folder, change):
    folder.metrics_json.write_text(json.dumps({**json.loads(folder.metrics_json.read_text()), **change}))
    lines, good = verify(folder)
    assert not good and any("metrics.json" in line for line in lines)


@pytest.mark.parametrize("journal", [None, 7, "x", {"a": 1}, [1], [None], [["x"]], ["../../etc/passwd"], [FIRST], [FIRST, FIRST]])
def test_a_forged_account_is_a_verdict(folder, journal):
    folder.run_json.write_text(json.dumps({"journal": journal}))
    lines, good = verify(folder)
    assert not good and lines


@pytest.mark.parametrize("digests", [{"job": 1, "data": "2", "model": "3"}, {"job": "1"}, {"__class__": "x"}, []])
def test_forged_digests_are_a_verdict(folder, digests):
    folder.job_json.write_text(json.dumps(digests))
    assert not verify(folder)[1]


@pytest.mark.parametrize("chunk", [3, -1, 2**62, -(2**63)])
def test_a_segment_of_another_plan_is_a_verdict(folder, chunk):
    lines = np.array([[chunk, 4, 1, 4, 0, 0, 0, 0]], np.int64)
    for plan, wanted in ((ORIGIN.plan, "holds chunks that the plan does not have"), ("other", "is of another plan")):
        Journal(folder.journal, replace(ORIGIN, plan=plan), 2, 0).write(Sums(lines, np.zeros(1, np.int64), NO_GRID))
        says(folder, f"{SECOND} {wanted}", "chunk 1 (a, records 4..7; b, records 0..1) is missing")
    folder.metrics_json.unlink()
    says(folder, "this run is not finished: 1 of 3 chunks are not in the journal")


def signed(header: Any, arrays: bytes = b"") -> bytes:
    """A segment with a valid checksum, whatever is in it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    data = MAGIC + len(text).to_bytes(8, "little") + text + arrays
    return data + hashlib.sha256(data).digest()


WHOSE = asdict(ORIGIN)
HEADERS = [
    b"", b"{", b"[" * 5000, [], {}, {"origin": WHOSE, "keys": [], "arrays": []}, {"origin": WHOSE, "keys": [], "arrays": [7]},
    {"origin": {**WHOSE, "job": 7}, "keys": [], "arrays": [["lines", "<i8", [0, 8]]]},
    {"origin": {**WHOSE, "x": "y"}, "keys": [], "arrays": [["lines", "<i8", [0, 8]]]},
    {"origin": WHOSE, "keys": [], "arrays": [["lines", "<i8", [2**62, 8]]]},
    {"origin": WHOSE, "keys": [], "arrays": [["lines", "<i8", [-1, -8]]]},
    {"origin": WHOSE, "keys": [], "arrays": [["lines", "<i8", [1, 8]]]},
    {"origin": WHOSE, "keys": [], "arrays": [["lines", "|O", [0, 8]]]},
    {"origin": WHOSE, "keys": [], "arrays": [["lines", "nonsense", [0, 8]]]},
    {"origin": WHOSE, "keys": [], "arrays": [["lines", "<f8", [0, 8]]]},
    {"origin": WHOSE, "keys": [], "arrays": [["lines", "<i8", [0, 6]]]},
    {"origin": WHOSE, "keys": [], "arrays": [["lines", "<i8", "x"]]},
    {"origin": WHOSE, "keys": [], "arrays": [["state", "<i8", [0, 8]]]},
    {"origin": WHOSE, "keys": 3, "arrays": [["lines", "<i8", [0, 8]]]},
]  # fmt: skip


@pytest.mark.parametrize("header", HEADERS)
def test_a_forged_segment_with_a_valid_checksum_is_a_verdict(folder, header):
    (folder.journal / SECOND).write_bytes(signed(header))
    says(folder, f"{SECOND} was summed, and is missing or not whole")
    with pytest.raises(Torn):
        read_segment(folder.journal / SECOND)


def test_segments_without_what_they_should_hold_are_torn(folder):
    grid = {"origin": WHOSE, "keys": ["a"], "arrays": [["lines", "<i8", [0, 8]], ["state", "<i8", [0]]]}
    rows = {"origin": WHOSE, "keys": [], "arrays": [*grid["arrays"], ["rows.auc\nunknown", "<i8", [0]]]}
    for header in (grid, rows, {"origin": WHOSE, "keys": [], "arrays": grid["arrays"][:1]}):
        (folder.journal / SECOND).write_bytes(signed(header))
        with pytest.raises(Torn, match="does not hold what a rank writes"):
            read_segment(folder.journal / SECOND)


def test_a_segment_of_another_version_is_named(folder):
    path = folder.journal / SECOND
    path.write_bytes(b"harness journal 2\n" + path.read_bytes()[18:])
    says(folder, f"{SECOND} was written by another version of the harness")


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
        json.dumps(
            {
                "certificate": {"examples": 11, "chunks": 3, "id_hash": HASH, "content_hash": CONTENT},
                "digests": {**DIGESTS, "model": "x"},
            }
        )
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
