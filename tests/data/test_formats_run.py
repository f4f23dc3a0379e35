"""The same examples in every format give the same numbers, at one rank and at several."""

from __future__ import annotations

import json
import sys

import pytest
import yaml

from tests import formats
from tests.conftest import ROOT, over_ranks, start

NUMBERS = ("metrics", "slices", "intervals")
KEYS = {
    "metrics": ["accuracy", {"cross_entropy": {}}, "roc_auc_macro"][:2],
    "slices": [["label"]],
    "bootstrap": {"replicates": 5, "seed": 3},
    "batch_size": 16,
    "chunk_size": 32,
}
NAMES = ("npz", "npy", "tfrecord", "zlib", "parquet", "csv", "tsv", "csv.gz", "jsonl", "jsonl.gz", "tfds", "python")


@pytest.fixture(scope="module")
def sections(world, tmp_path_factory):
    """The data section of each format, and the folder."""
    folder = tmp_path_factory.mktemp("formats")
    return folder, formats.write(folder)


def job(folder, model, data, name="job.yaml", **keys):
    path = folder / name
    data = {"label": "label", "weight": "weight", **data}
    whole = {"model": str(model), **KEYS, **keys, "data": data}
    path.write_text(yaml.safe_dump({key: value for key, value in whole.items() if value is not None}))
    return path


@pytest.fixture(scope="module")
def expected(sections, world, cli_server, tmp_path_factory):
    """What the archives give."""
    from tests.conftest import command

    folder, found = sections
    run = tmp_path_factory.mktemp("expected")
    done = command(
        cli_server, run, "evaluate", job(folder, world.folder / "classifier", found["npz"], "npz.yaml"), "-o", run / "run"
    )
    assert done.code == 0, done.text
    return json.loads((run / "run" / "metrics.json").read_text())


def test_formats_are_all_tried(sections):
    assert set(NAMES) == set(sections[1])


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_format_gives_the_same_numbers(sections, world, harness, expected, tmp_path, name):
    folder, found = sections
    done = harness("evaluate", job(folder, world.folder / "classifier", found[name], f"{name}.yaml"), "-o", tmp_path / "run")
    assert done.code == 0, done.text
    result = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert {key: result[key] for key in NUMBERS} == {key: expected[key] for key in NUMBERS}
    assert result["certificate"]["examples"] == 203
    assert set(result["certificate"]) == {"examples", "chunks", "id_hash", "content_hash"}


@pytest.fixture(scope="module")
def contents(sections, world, tmp_path_factory):
    """The content hash of each format, as one process finds it in other batches and chunks."""
    folder, found = sections
    run, words = tmp_path_factory.mktemp("contents"), []
    for name in NAMES:
        other = {"batch_size": 7, "chunk_size": 21, "slices": None, "bootstrap": None}
        path = job(folder, world.folder / "classifier", found[name], f"{name}.other.yaml", **other)
        words.append(f"{path}={run / name}")
    done = start([sys.executable, "-m", "tests.ranks.many", *words], ROOT)
    assert done.code == 0, done.text
    return {name: json.loads((run / name / "metrics.json").read_text())["certificate"]["content_hash"] for name in NAMES}


@pytest.mark.ranks
@pytest.mark.parametrize("ranks", [2, 3])
def test_formats_at_several_ranks(sections, world, expected, contents, tmp_path, ranks):
    folder, found = sections
    words = []
    for name in NAMES:
        words.append(f"{job(folder, world.folder / 'classifier', found[name], f'{name}.yaml')}={tmp_path / name}")
    done = start(over_ranks(ranks, "mpi", [sys.executable, "-m", "tests.ranks.many", *words]), ROOT)
    assert done.code == 0, done.text
    for name in NAMES:
        result = json.loads((tmp_path / name / "metrics.json").read_text())
        assert {key: result[key] for key in NUMBERS} == {key: expected[key] for key in NUMBERS}, name
        assert result["certificate"]["content_hash"] == contents[name], name
    # The same values in columns have the same hash; the same records have the same CRCs.
    assert contents["npz"] == contents["npy"] == contents["parquet"] == contents["python"] == contents["jsonl"]
    assert (
        contents["csv"] == contents["tsv"] == contents["csv.gz"] and contents["tfrecord"] == contents["zlib"] == contents["tfds"]
    )
