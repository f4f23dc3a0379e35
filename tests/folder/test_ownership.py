"""Whose run a folder holds: what differs is named with both values, a changed job gets a folder of its own, and runs are erased."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from harness.errors import RunFolderError
from harness.folder.attempts import begin, earlier
from harness.folder.ownership import default_folder, differences, erase
from harness.folder.run_folder import RunFolder
from harness.job.job import Job
from tests.conftest import Made
from tests.folder.claimed import claimed


def job(folder: Path, **keys: object) -> Job:
    whole = {"model": "m", "data": {"files": "a.npz"}, "metrics": ["accuracy", {"top_k": {"k": 2}}], **keys}
    return Job.from_dict(whole, folder=folder, name="digits")


def digests(of: Job) -> dict[str, str]:
    return {"job": of.digest, "data": "d", "model": "m"}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"metrics": ["f1", {"top_k": {"k": 5}}]}, ['metrics.0.name is "accuracy" there and "f_beta" here', "metrics.1.options.k is 2 there and 5 here"]),
        ({"batch_size": 7}, ["batch_size is not given there and 7 here"]),
        ({"slices": ["user"]}, ['slices.by.0.0.feature is not given there and "user" here']),
        # Where things lie, and how work is shared, can change no value.
        ({"model": "other", "data": {"files": "b.npz"}, "output": "elsewhere", "schedule": "static"}, []),
    ],
)  # fmt: skip
def test_the_keys_that_differ_are_named_with_both_values(tmp_path, keys, expected):
    folder = RunFolder(tmp_path / "run")
    claimed(folder, digests(job(tmp_path)), job(tmp_path))
    found = differences(folder, job(tmp_path, **keys))
    assert [line for line in expected if line not in found] == []
    assert bool(found) == bool(expected)


def test_a_refusal_says_what_differs_and_what_to_do(tmp_path):
    folder, other = RunFolder(tmp_path / "run"), job(tmp_path, batch_size=7)
    claimed(folder, digests(job(tmp_path)), job(tmp_path))
    with pytest.raises(RunFolderError, match=r"its job differs .*batch_size is not given there and 7 here.*-o.*--overwrite"):
        claimed(folder, digests(other), other)


def test_a_folder_of_an_older_harness_is_refused_without_its_keys(tmp_path):
    folder, other = RunFolder(tmp_path / "run"), job(tmp_path, batch_size=7)
    claimed(folder, digests(job(tmp_path)), job(tmp_path))
    folder.resolved_job_json.unlink()
    with pytest.raises(RunFolderError, match="its job differs from this one's; choose"):
        claimed(folder, digests(other), other)


def test_a_changed_job_gets_the_next_folder_and_finds_it_again(tmp_path):
    first, second, third = job(tmp_path), job(tmp_path, batch_size=7), job(tmp_path, batch_size=8)
    runs = tmp_path / "runs"
    assert default_folder(first) == (runs / "digits", "")
    claimed(RunFolder(runs / "digits"), digests(first), first)
    for wanted, number in ((second, 2), (third, 3)):
        path, message = default_folder(wanted)
        assert path == runs / f"digits-{number}"
        assert "digits holds the run of another job (batch_size is not given there" in message and str(path) in message
        # To go on with a run is not to begin another.
        assert default_folder(wanted, resume=True) == (runs / "digits", "")
        claimed(RunFolder(path), digests(wanted), wanted)
        assert default_folder(wanted, resume=True)[0] == path
    assert default_folder(first) == (runs / "digits", "")
    assert default_folder(second)[0] == runs / "digits-2"
    assert default_folder(job(tmp_path, batch_size=9, output="mine")) == (tmp_path / "mine", "")


def test_a_run_is_erased_and_nothing_else(tmp_path):
    folder = RunFolder(tmp_path / "run")
    claimed(folder, digests(job(tmp_path)), job(tmp_path))
    folder.clear()
    folder.metrics_json.write_text('{"metrics": {"confusion_matrix": {"value": {"columns": []}}}}')
    folder.table_csv("confusion_matrix").write_text("")
    (folder.path / "slurm-7.log").write_text("kept")
    (folder.path / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="holds notes.txt beside a run, and is not overwritten"):
        erase(folder)
    assert folder.metrics_json.exists()
    (folder.path / "notes.txt").unlink()
    erase(folder)
    assert sorted(path.name for path in folder.path.iterdir()) == ["attempts", "slurm-7.log"]


@pytest.mark.parametrize("foreign", ["journal/notes.txt", "predictions/analysis.ipynb", "accuracy.csv", "attempts/x/y", "stop/z"])
def test_what_is_no_part_of_a_run_is_not_erased(tmp_path, foreign):
    folder = RunFolder(tmp_path / "run")
    claimed(folder, digests(job(tmp_path)), job(tmp_path))
    folder.clear()
    folder.metrics_json.write_text('{"metrics": {"accuracy": {"value": 0.5}}}')
    path = folder.path / foreign
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    with pytest.raises(RunFolderError, match=foreign.rpartition("/")[0].partition("/")[0] or foreign):
        erase(folder)
    assert path.read_text() == "mine" and folder.metrics_json.exists()


def test_an_erasing_that_was_cut_off_at_any_place_is_done_again(tmp_path, monkeypatch):
    """What is left is never taken for a run that is done, or that can be gone on with."""
    for places in range(1, 40):
        folder = RunFolder(tmp_path / f"run{places}")
        claimed(folder, digests(job(tmp_path)), job(tmp_path))
        folder.clear()
        folder.metrics_json.write_text('{"metrics": {"confusion_matrix": {"value": {"columns": []}}}}')
        folder.question_json.write_text('{"question": {"metrics": [{"key": "confusion_matrix"}]}}')
        folder.table_csv("confusion_matrix").write_text("")
        (folder.journal / "0001-00000-000001.segment").touch()
        (folder.attempts / "0001.json").write_text("{}")
        left = [places]

        def cut(call, left=left):
            def counted(*args, **how):
                left[0] -= 1
                if not left[0]:
                    raise KeyboardInterrupt
                return call(*args, **how)

            return counted

        with monkeypatch.context() as patched:
            patched.setattr(Path, "unlink", cut(Path.unlink))
            patched.setattr("shutil.rmtree", cut(shutil.rmtree))
            ended = False
            try:
                erase(folder)
                ended = True
            except KeyboardInterrupt:
                assert not (folder.metrics_json.exists() and folder.has_segments) or places == 1
        if ended:
            break
        erase(folder)
        assert sorted(path.name for path in folder.path.iterdir()) == ["attempts"]
        assert earlier(folder) == [] and begin(folder, (), 0, 1).number == 2
    assert ended and places > 10


def test_a_link_in_a_run_folder_is_taken_away_and_not_what_it_leads_to(tmp_path):
    folder, elsewhere = RunFolder(tmp_path / "run"), tmp_path / "elsewhere"
    claimed(folder, digests(job(tmp_path)), job(tmp_path))
    elsewhere.mkdir()
    (elsewhere / "part").write_text("")
    folder.predictions.symlink_to(elsewhere)
    erase(folder)
    assert (elsewhere / "part").exists() and not folder.predictions.exists()


@pytest.mark.slow
def test_a_metric_is_edited_and_the_job_run_again(world: Made, harness, tmp_path):
    path = world.job(tmp_path / "job.yaml")
    runs = tmp_path / "runs"
    assert harness("evaluate", path).code == 0
    first = (runs / "job" / "metrics.json").read_bytes()
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "metrics": ["cross_entropy"]}))
    done = harness("evaluate", path)
    assert done.code == 0 and f"this one goes to {runs / 'job-2'}" in done.err, done.text
    second = (runs / "job-2" / "metrics.json").read_bytes()
    assert (runs / "job" / "metrics.json").read_bytes() == first != second
    refused = harness("evaluate", path, "-o", runs / "job")
    assert refused.code == 2 and 'metrics.0.name is "accuracy" there and "cross_entropy" here' in refused.err, refused.text
    done = harness("evaluate", path, "-o", runs / "job", "--overwrite")
    assert done.code == 0 and (runs / "job" / "metrics.json").read_bytes() == second, done.text
    # A launcher tells its ranks where to go.
    started = harness("launch", "--dry-run", "-np", "2", "--gloo", "--", "evaluate", path, "--set", "batch_size=8")
    assert f"-o {runs / 'job-3'}" in started.out and f"this one goes to {runs / 'job-3'}" in started.err, started.text
    # What cannot change a value does not count, and both at once make no sense.
    assert "done already" in harness("evaluate", path, "-o", runs / "job", "--set", "schedule=static").out
    both = harness("evaluate", path, "--overwrite", "--resume")
    assert both.code == 2 and "say one of them" in both.err
