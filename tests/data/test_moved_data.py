"""Where data, model and job lie is in no digest: runs of two machines can be told to be of the same work."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from harness.job.job import Job
from harness.prepare.opened import open_data
from tests import formats

FORMATS = ("npz", "npy", "tfrecord", "zlib", "parquet", "csv", "tsv", "csv.gz", "jsonl", "jsonl.gz", "tfds", "python")


@pytest.fixture(scope="module")
def places(world, tmp_path_factory):
    """Two folders with the same data and the same model, the second one elsewhere, and the data section of each format."""
    first = tmp_path_factory.mktemp("first")
    sections = formats.write(first)
    shutil.copytree(world.folder / "classifier", first / "classifier")
    for name in ("cat", "dog"):
        (first / "pets" / name).mkdir(parents=True)
        (first / "pets" / name / "a.png").write_bytes(b"not looked at")
    sections["images"] = {"files": str(first / "pets"), "format": "images", "label": "label"}
    second = tmp_path_factory.mktemp("second") / "another disk" / "deeper"
    shutil.copytree(first, second)
    return first, second, sections


def digests(folder: Path, name: str, section: dict, first: Path) -> dict[str, str]:
    data = yaml.safe_load(yaml.safe_dump(section).replace(str(first), str(folder)))
    keys = {
        "model": str(folder / "classifier"),
        "data": {"label": "label", **data},
        "metrics": ["accuracy"],
        "output": str(folder),
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(keys))
    return open_data(Job.load(folder / f"{name}.yaml")).digests


@pytest.mark.parametrize("name", [*FORMATS, "images"])
def test_the_digests_do_not_depend_on_the_place(places, name):
    first, second, sections = places
    here, there = (digests(folder, name, sections[name], first) for folder in (first, second))
    assert set(here) == {"data", "job", "model"} and all(len(digest) == 64 for digest in here.values())
    assert here == there
