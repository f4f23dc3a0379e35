"""Jobs that hold what nothing can: texts, paths and positions; job files without an end."""

from __future__ import annotations

import os
import threading

import pytest

from harness.errors import JobError
from harness.job import file_text
from harness.job.job import Job
from harness.job.plain_texts import unusable

GOOD = {"model": "m", "data": {"files": "a.npz", "label": "y"}, "metrics": ["accuracy"]}
LONG = "a" * 300


@pytest.mark.parametrize(
    "override, words",
    [
        ('data.classes="a\\0b"', "job: data.classes: expected text, found a NUL byte in it"),
        ('gate="a\\0b"', "job: gate: expected text, found a NUL byte in it"),
        ('monitor.textfile="\\0"', "job: monitor.textfile: expected text, found a NUL byte in it"),
        ('output="a\\0b"', "job: output: expected text, found a NUL byte in it"),
        ("output=runs/" + LONG, "job: output: expected a folder, found a path that none can have: a name in it has 300 bytes"),
        ("output=" + "a/" * 2500, "job: output: expected a folder, found a path that none can have: it has 5000 bytes"),
        ("metrics.-1=f1", "--set metrics.-1=f1: the job has nothing at metrics.-1 that could be set"),
        ("metrics.-1.name=f1", "the job has nothing at metrics.-1.name that could be set"),
        ("data=" + "a" * 5000, "data: data.format is missing and cannot be told from"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(override, words):
    with pytest.raises(JobError) as caught:
        Job.from_dict(GOOD, overrides=[override])
    assert words in str(caught.value)


def test_half_a_surrogate_pair_is_refused_with_its_key():
    with pytest.raises(JobError, match=r"job: metrics\.0\.accuracy\.name: expected text, found half a surrogate pair in it"):
        Job.from_dict({**GOOD, "metrics": [{"accuracy": {"name": "\ud800"}}]})
    with pytest.raises(JobError, match=r"job: data\.inputs\.\\udcff: expected text, found a byte that is not UTF-8 in it"):
        Job.from_dict({**GOOD, "data": {**GOOD["data"], "inputs": {"\udcff": "x"}}})


def test_a_path_of_many_files_is_as_good_as_before():
    assert Job.from_dict({**GOOD, "data": ["a" * 5000 + ".npz"]}).data.format == "npz"  # no such file: said with the data
    assert unusable("s3://bucket/" + LONG) == "" and unusable("\ud800") == "there is half a surrogate pair in it"
    assert unusable(os.fsdecode(b"runs/\xe4")) == ""


def test_a_job_file_has_an_end(tmp_path, monkeypatch):
    with pytest.raises(JobError, match="/dev/zero: expected YAML of at most 16 MiB, found more; is it a device, or data"):
        Job.load("/dev/zero")
    with pytest.raises(JobError, match="no such job file: a name in it has 305 bytes"):
        Job.load(f"{LONG}.yaml")
    (tmp_path / "job.yaml").write_text("model: m\ndata: a.npz\nmetrics: f1\n")
    size = (tmp_path / "job.yaml").stat().st_size
    monkeypatch.setattr(file_text, "MOST_BYTES", size)
    assert Job.load(tmp_path / "job.yaml").name == "job"
    monkeypatch.setattr(file_text, "MOST_BYTES", size - 1)
    with pytest.raises(JobError, match="found more"):
        Job.load(tmp_path / "job.yaml")


def test_a_job_comes_through_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "job.yaml")
    writer = threading.Thread(target=lambda: (tmp_path / "job.yaml").write_text("model: m\ndata: a.npz\nmetrics: f1\n"))
    writer.start()
    assert Job.load(tmp_path / "job.yaml").metrics[0].name == "f_beta"
    writer.join()
