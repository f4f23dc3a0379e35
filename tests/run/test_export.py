"""A run that is handed on when it is done: the targets are looked at first, and one that fails costs no result."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

import harness as package
from harness.errors import JobError
from harness.job.job import Job
from harness.run.export import check_exported_places
from tests import made
from tests.conftest import Done, Made


def numbers(folder: Path, name: str) -> list[tuple[int, float]]:
    """Return the exact numbers that TensorBoard's reader finds, by step."""
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return [(event.step, make_ndarray(event.tensor_proto).item()) for event in accumulator.Tensors(f"exact/{name}")]


def test_a_job_hands_its_run_on_and_the_command_finds_it_there(world: Made, harness: Callable[..., Done], tmp_path: Path) -> None:
    job = world.job(tmp_path / "job.yaml", export=["tensorboard", "csv=tables/all.csv"])
    done = harness("evaluate", job, "-o", tmp_path / "run", cwd=Path("/"))
    assert done.code == 0, done.text
    assert (
        f"tensorboard: 1 run added: {tmp_path / 'tensorboard'}\ncsv: 1 run added: {tmp_path / 'tables' / 'all.csv'}\n" in done.out
    )
    value = json.loads((tmp_path / "run" / "metrics.json").read_text())["metrics"]["accuracy"]["value"]
    (folder,) = (tmp_path / "tensorboard").iterdir()
    assert numbers(folder, "accuracy") == [(0, value)]
    done = harness("export", tmp_path / "run", "--to", f"tensorboard={tmp_path / 'tensorboard'}", "--to", "csv=tables/all.csv")
    assert done.code == 0 and done.err.count("0 runs added, 1 there already") == 2
    assert Job.load(job).digest == Job.load(world.job(tmp_path / "plain.yaml")).digest


def test_a_target_that_fails_costs_no_result_and_is_tried_again(
    world: Made, harness: Callable[..., Done], tmp_path: Path
) -> None:
    job = world.job(tmp_path / "job.yaml", export="csv=all.csv")
    (tmp_path / "all.csv").write_text("something else\n")
    done = harness("evaluate", job, "-o", tmp_path / "run")
    assert done.code == 0 and (tmp_path / "run" / "metrics.json").exists()
    assert "harness: warning: the result is written, but not handed on: " in done.err
    assert "all.csv: expected a CSV table that harness export wrote, found something else" in done.err
    assert f"say it again: harness export {tmp_path / 'run'} --to csv={tmp_path / 'all.csv'}" in done.err
    assert json.loads((tmp_path / "run" / "status.json").read_text())["exit_code"] == 0
    (tmp_path / "all.csv").unlink()
    done = harness("evaluate", job, "-o", tmp_path / "run")  # done already: what is missing is handed on
    assert done.code == 0 and "csv: 1 run added" in done.out and (tmp_path / "all.csv").exists()


@pytest.mark.parametrize(
    "targets, message",
    [
        ("tensorbord", "export: expected a target, found 'tensorbord': did you mean 'tensorboard'?"),
        (["csv", "csv"], "export: csv: stands there twice"),
        ("csv=/dev/full", "export: csv: expected a file, or a name that is free, found something else: /dev/full"),
        ("tensorboard=job.yaml", "export: tensorboard: expected a folder, or a name that is free, found something else: "),
        (["mlflow=https://me:hidden@host/"], "export: a URL carries a user or password"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(
    targets: object, message: str, world: Made, harness: Callable[..., Done], tmp_path: Path
) -> None:
    job = world.job(tmp_path / "job.yaml", export=targets)
    for command in ("check", "evaluate"):
        done = harness(command, job)
        assert done.code == 2 and message in done.err and "hidden" not in done.text.replace("***", "")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("key", ["monitor", "export"])
def test_places_that_cannot_be_written_are_found_before_a_run_is_begun(
    key: str, world: Made, harness: Callable[..., Done], tmp_path: Path
) -> None:
    """Nothing is there after it, and the next start is the first attempt."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        jobs = {
            "monitor": [{"textfile": "/proc"}, {"textfile": "gone"}, {"port": taken.getsockname()[1], "address": "127.0.0.1"}],
            "export": [["csv=locked/all.csv"], ["parquet=locked/deeper/all.parquet"], ["tensorboard=locked/logs"]],
        }
        (tmp_path / "locked").mkdir(mode=0o555)
        for value in jobs[key]:
            if key == "export":  # who is root may write anywhere, so another user says what they may
                with pytest.MonkeyPatch.context() as patched:
                    patched.setattr(os, "access", lambda path, mode: os.stat(path).st_mode & 0o222 != 0)
                    with pytest.raises(
                        JobError, match="expected a place that this process may write to, found .*locked is not writable"
                    ):
                        check_exported_places(Job.load(world.job(tmp_path / "job.yaml", export=value)))
                continue
            done = harness("evaluate", world.job(tmp_path / "job.yaml", monitor=value), "-o", tmp_path / "run")
            assert done.code == 2 and "monitor." in done.err, done.text
            assert not (tmp_path / "run").exists()
    done = harness("check", world.job(tmp_path / "job.yaml", monitor={"textfile": ""}))
    assert done.code == 2 and "textfile" in done.err


EXAMPLES = made.examples()


def trained(*callbacks: keras.callbacks.Callback) -> dict[str, list[float]]:
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(5, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    data = (EXAMPLES.x, EXAMPLES.label)
    return model.fit(*data, validation_data=data, epochs=3, callbacks=list(callbacks), verbose=0).history


def test_the_callback_logs_beside_keras(tmp_path: Path) -> None:
    validation = package.ExactValidation(
        (EXAMPLES.x, EXAMPLES.label), ["accuracy", {"recall": {"average": None}}], prefix="exact_", log_dir=tmp_path
    )
    trained(keras.callbacks.TensorBoard(tmp_path), validation)
    assert {path.name for path in tmp_path.iterdir()} == {"train", "validation", "exact"}
    assert numbers(tmp_path / "exact", "epoch_accuracy") == [
        (epoch, found["accuracy"]) for epoch, found in enumerate(validation.results)
    ]
    assert numbers(tmp_path / "exact", "epoch_recall/0")[2] == (2, validation.results[2]["recall"]["0"])
    keras_own = EventAccumulator(str(tmp_path / "validation"))
    keras_own.Reload()
    own = EventAccumulator(str(tmp_path / "exact"))
    own.Reload()
    shown = [event.value for event in own.Scalars("epoch_accuracy")]  # under the name of Keras' own
    theirs = [make_ndarray(event.tensor_proto).item() for event in keras_own.Tensors("epoch_accuracy")]
    np.testing.assert_allclose(shown, theirs, rtol=1e-6)


def test_without_tensorboard_the_callback_says_so_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None)
    with pytest.raises(
        package.errors.UsageError, match=r"tensorboard is not installed: pip install 'exact-harness\[tensorboard\]'"
    ):
        package.ExactValidation((EXAMPLES.x, EXAMPLES.label), ["accuracy"], log_dir=tmp_path)
    with pytest.raises(JobError):
        Job.from_dict({"model": "m", "data": "x.npz", "metrics": "accuracy", "export": ["csv=s3://a:b@c/d"]})
