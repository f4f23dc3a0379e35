"""The parts of predictions are held against what was committed: at a resume, when all are put together, and by verify."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.data import ID
from harness.errors import HarnessError
from harness.folder.journal import Found, Journal, find
from harness.folder.run_folder import RunFolder
from harness.predictions.dataset import PartWriter, collect, commit
from harness.predictions.manifest import Manifest
from harness.predictions.part_check import PartCheck, committed, verify_parts
from harness.predictions.prediction_files import Column
from harness.ranks.comm import SingleComm
from tests import made
from tests.folder.test_journal import ORIGIN, PLAN, segment

DIGESTS = {"job": "1", "data": "2", "model": "3", "predictions": "4"}
COLUMNS = (Column("id", "id", "id", "int64", ()), Column("p", "output", "p", "float64", ()))


class Predicted:
    """What a call of the step returns of some chunks."""

    def __init__(self, *chunks: int) -> None:
        ids = [np.arange(PLAN[chunk].start, PLAN[chunk].stop) for chunk in chunks]
        self.batches = np.array([[chunk] for chunk in chunks])
        self.columns = {ID: ids, "p": [some / 7 for some in ids]}


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    """A run whose first attempt has committed chunks 0 and 2 in a segment, and chunk 1 in another."""
    run = RunFolder(tmp_path / "run")
    for path in (run.journal, run.predictions):
        path.mkdir(parents=True)
    writer = PartWriter(run.predictions, "parquet", COLUMNS)
    journal = Journal(run.journal, ORIGIN, 1, 0, parts=writer.digests)
    for chunks in ((0, 2), (1,)):
        writer.write(Predicted(*chunks))
        journal.write(segment(PLAN, *chunks))
    return run


def part(folder: RunFolder, chunk: int) -> Path:
    return folder.predictions / f"part-{chunk:08d}.parquet"


def damage(path: Path, how: str) -> None:
    if how == "flipped":
        made.flip(path, path.stat().st_size // 2)
    elif how == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
        if how == "a folder":
            path.mkdir()


def intact(folder: RunFolder, segments: list[Found], *, hashed: bool = True) -> tuple[list[list[int]], list[str]]:
    whole, warnings = PartCheck(folder.predictions, "parquet", hashed=hashed).intact(segments)
    return [found.lines[:, 0].tolist() for found in whole], warnings


def test_whole_parts_are_kept(folder):
    moves: list[None] = []
    segments, _ = find(folder.journal)
    assert PartCheck(folder.predictions, "parquet", moved=lambda: moves.append(None)).intact(segments) == (segments, [])
    assert len(moves) == 3 and intact(folder, [], hashed=True) == ([], [])


@pytest.mark.parametrize("how", ["flipped", "empty", "missing", "a folder"])
def test_a_damaged_part_takes_its_whole_segment_and_no_other(folder, how):
    damage(part(folder, 2), how)
    chunks, (warning,) = intact(folder, find(folder.journal)[0])
    assert chunks == [[1]]
    assert str(part(folder, 2)) in warning and "all 2 chunks of 0001-00000-000001.segment are evaluated again" in warning


@pytest.mark.parametrize(("how", "kept"), [("flipped", [[0, 2], [1]]), ("empty", [[1]]), ("missing", [[1]])])
def test_segments_that_name_no_sha256_are_compared_with_what_is_there(folder, how, kept):
    damage(part(folder, 2), how)
    segments = find(folder.journal)[0]
    assert intact(folder, [replace(found, parts=None) for found in segments])[0] == kept
    assert intact(folder, segments, hashed=False)[0] == kept  # as in a further round of an elastic run


def test_a_part_without_examples_may_be_empty(folder):
    damage(part(folder, 2), "empty")
    lines = np.array([[2, 4, 0, 0, 4, 0, 0, 0]])  # all were filtered
    assert intact(folder, [Found("s", ORIGIN, lines)])[0] == [[2]]


def test_of_two_segments_with_a_chunk_that_stays_whose_part_is_there(folder):
    data = part(folder, 1).read_bytes()
    part(folder, 1).write_bytes(data + b" of another machine")
    other = hashlib.sha256(part(folder, 1).read_bytes()).digest()
    Journal(folder.journal, ORIGIN, 2, 0, parts=lambda chunks: np.frombuffer(other, np.uint8)[None]).write(segment(PLAN, 1))
    whole, _ = PartCheck(folder.predictions, "parquet").intact(find(folder.journal)[0])
    assert [found.name for found in whole] == ["0001-00000-000001.segment", "0002-00000-000001.segment"]


def resumed(folder: RunFolder) -> Manifest:
    """What the ranks put together where nothing was left to evaluate."""
    kept = [found.name for found in find(folder.journal)[0]]
    return collect(SingleComm(), PartWriter(folder.predictions, "parquet", COLUMNS), folder, PLAN, kept)


def test_a_part_that_changes_while_others_are_evaluated_is_not_certified(folder):
    held = {made_of.chunk: made_of.sha256 for made_of in resumed(folder).parts}
    assert committed(folder, ["0001-00000-000002.segment"]) == {1: held[1]} and committed(folder, []) == {}
    content = part(folder, 0).read_bytes()
    part(folder, 0).write_bytes(part(folder, 1).read_bytes())
    with pytest.raises(HarnessError, match=r"part-00000000.parquet: expected SHA-256 .* start again with --resume"):
        resumed(folder)
    part(folder, 0).write_bytes(content)
    part(folder, 1).unlink()
    with pytest.raises(HarnessError, match=r"cannot be read: No such file or directory; start again with --resume"):
        resumed(folder)


@pytest.fixture
def finished(folder) -> RunFolder:
    """The same, with the manifest of its parts."""
    commit(folder.predictions, replace(resumed(folder), digests={name: DIGESTS[name] for name in ("job", "data", "model")}))
    return folder


def verified(folder: RunFolder) -> tuple[list[str], list[str]]:
    return verify_parts(folder, DIGESTS, find(folder.journal)[0])


def test_parts_that_are_whole_are_proved(finished):
    assert verified(finished) == ([], ["verified: 3 parts of the predictions have the SHA-256 that _manifest.json names"])


@pytest.mark.parametrize("how", ["flipped", "empty", "missing", "a folder"])
def test_a_part_that_differs_from_the_manifest_is_named(finished, how):
    damage(part(finished, 1), how)
    ((problem,), _) = verified(finished)
    assert str(part(finished, 1)) in problem


def edit(folder: RunFolder, key: str, value: object) -> None:
    path = folder.predictions / "_manifest.json"
    document = json.loads(path.read_text())
    document["parts"][1][key] = value
    path.write_text(json.dumps(document))


def test_a_manifest_that_is_not_of_this_run_is_named(finished):
    path = finished.predictions / "_manifest.json"
    text = path.read_text()
    changes = {"sha256": "ab" * 32, "examples": 7, "file": "../../metrics.json", "chunk": 9}
    wanted = [
        "has SHA-256 abababababab...",
        "has 7 examples, the journal 4",
        "found '../../metrics.json'",
        "found 'part-00000001",
    ]
    for (key, value), message in zip(changes.items(), wanted, strict=True):
        edit(finished, key, value)
        assert message in verified(finished)[0][0]
        path.write_text(text)
    path.write_text(text.replace('"job": "1"', '"job": "9"'))
    assert "is of another job" in verified(finished)[0][0]
    path.write_text("{")
    assert "no manifest of predictions" in verified(finished)[0][0]


def test_a_part_too_many_and_no_parts_at_all(finished):
    part(finished, 3).write_bytes(b"of another plan")
    assert "part-00000003.parquet is no part of these predictions" in verified(finished)[0][0]
    (finished.predictions / "_SUCCESS").unlink()
    assert "found no _SUCCESS" in verified(finished)[0][0]
    finished.predictions.rename(finished.path / "elsewhere")
    assert verified(finished) == ([], ["not verified: the predictions; there is no predictions"])
    assert verify_parts(finished, {"job": "1"}, []) == ([], [])
