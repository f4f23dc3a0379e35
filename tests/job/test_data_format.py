"""The format of data that a job does not name."""

import pytest

from harness.errors import JobError
from harness.job.data_format import format_of
from harness.job.job import Job


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos/cat").mkdir(parents=True)
    (tmp_path / "photos.v2/cat").mkdir(parents=True)
    (tmp_path / "mnist/3.0.1").mkdir(parents=True)
    (tmp_path / "mnist/3.0.1/dataset_info.json").touch()
    (tmp_path / "arrays").mkdir()
    (tmp_path / "arrays/x.npy").touch()
    return tmp_path


@pytest.mark.parametrize(
    "path, kind",
    [
        ("photos", "images"),
        ("photos/", "images"),
        ("photos.v2", "images"),
        ("mnist/3.0.1#test", "tfds"),
        ("arrays", None),  # nor is the format of its files guessed
        ("arrays/x.npy", "npy"),
        ("elsewhere", None),
        ("s3://bucket/photos", None),
        ("part-*.jsonl.gz", "jsonl"),
    ],
)
def test_an_ending_or_a_folder_tells(folder, path, kind):
    assert format_of(path, folder) == kind


def test_a_job_of_an_image_folder_needs_no_format(folder):
    keys = {"model": "m", "metrics": "accuracy"}
    short = Job.from_dict({**keys, "data": "photos"}, folder=folder)
    assert short.data.format == "images"
    assert short.digest == Job.from_dict({**keys, "data": {"files": "photos", "format": "images"}}, folder=folder).digest
    with pytest.raises(JobError, match="data.format is missing and cannot be told from 'arrays'"):
        Job.from_dict({**keys, "data": "arrays"}, folder=folder)
