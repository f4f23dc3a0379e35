"""What the loop's time goes into: a real step that is made slow at one place, each named; and what run.json says."""

from __future__ import annotations

import json
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from harness.watch.time_split import Watched
from tests.conftest import start


class Steps:
    """A step of a few milliseconds a call, half of which it waits for its batches."""

    def __init__(self, waits=0.5):
        self.asked = []
        self.spent_s = []
        self._waits = waits

    def run(self, most=None):
        self.asked.append(most)
        begun = time.monotonic()
        time.sleep(0.002)
        self.spent_s.append(time.monotonic() - begun)
        return SimpleNamespace(number=len(self.asked), batches=[0], reading_s=self._waits * self.spent_s[-1])


def test_the_time_of_the_loop_is_divided():
    step = Steps()
    watched = Watched(step)
    assert [watched.run(9).number for _ in range(10)] == list(range(1, 11)) and step.asked == [9] * 10
    parts = watched.parts(watched.first_s + watched.inside_s + 1.0)
    assert list(parts) == ["other", "compiling", "reading", "predicting"]
    assert parts["other"] == pytest.approx(1.0, abs=1e-5)
    assert parts["compiling"] == pytest.approx(watched.first_s, abs=1e-5)
    assert parts["reading"] == pytest.approx(sum(step.spent_s[1:]) / 2, abs=1e-5)
    assert parts["reading"] + parts["predicting"] == pytest.approx(watched.inside_s, abs=1e-5)


def test_no_more_was_waited_than_a_call_took():
    watched = Watched(Steps(waits=3.0))
    for _ in range(3):
        watched.run()
    assert watched.parts(watched.first_s + watched.inside_s)["predicting"] == 0.0


def test_a_loop_that_did_not_begin_has_no_parts():
    assert set(Watched(Steps()).parts(0.0).values()) == {0.0}


def late(tensor):
    """Pass a tensor on, a while later."""
    import tensorflow as tf

    def wait(array):
        time.sleep(0.1)
        return array

    delayed = tf.numpy_function(wait, [tensor], tensor.dtype, stateful=False)
    delayed.set_shape(tensor.shape)
    return delayed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("slow", "kind"),
    [
        ("reading", "pipeline"),
        ("parsing", "pipeline"),
        ("predicting", "pipeline"),
        ("reading", "arrays"),
        ("predicting", "arrays"),
        ("reading", "outside"),
        ("predicting", "outside"),
    ],
)
def test_a_slow_reader_and_a_slow_model_are_told_apart(slow, kind, monkeypatch):
    from harness.ranks.share import FixedShare
    from harness.step.array_feed import ArrayFeed
    from harness.step.pipeline_feed import PipelineFeed
    from harness.step.predicted_feed import PredictedFeed, Settings
    from harness.step.step import Step
    from tests.step.test_feeds import BATCH, PLAN, QUESTION, SOURCE, WANTED, Shuffled, predict

    planted = threading.Event()
    if kind == "arrays":
        feed = ArrayFeed(SOURCE, WANTED, BATCH)
    elif kind == "outside":
        feed = PredictedFeed(SOURCE, WANTED, Shuffled(slow_s=0.1 if slow == "predicting" else 0.0), Settings(BATCH, 1, 2))
    else:
        feed = PipelineFeed(SOURCE, WANTED, BATCH, 1)
    place = ("content", "of") if kind == "arrays" else ("source", "read")
    holder, name = getattr(feed, place[0]), place[1]
    whole = getattr(holder, name)

    def slowly(*args):
        if planted.is_set():
            time.sleep(0.2)
        return whole(*args)

    if slow == "reading":
        monkeypatch.setattr(holder, name, slowly, raising=True)
    if slow == "parsing":
        parse = SOURCE.parse
        monkeypatch.setattr(SOURCE, "parse", lambda raw, wanted: {n: late(tensor) for n, tensor in parse(raw, wanted).items()})
    feed.open(FixedShare([PLAN[index] for index in range(len(PLAN))]))
    model = (lambda features: predict({n: late(t) for n, t in features.items()})) if slow == "predicting" else predict
    watched = Watched(Step(None if kind == "outside" else model, QUESTION, feed))
    planted.set()
    for _ in range(3):  # what was read ahead while the step was compiled is used up
        assert len(watched.run(1).batches)
    before = watched.parts(100.0)
    while len(watched.run(1).batches):
        pass
    parts = {name: seconds - before[name] for name, seconds in watched.parts(100.0).items() if name in ("reading", "predicting")}
    named = "reading" if slow == "parsing" else slow
    assert parts[named] > 0.7 * sum(parts.values()) > 0.3, parts


def test_run_json_splits_the_time_of_every_rank_and_show_prints_it(world, tmp_path):
    rng = np.random.default_rng(3)
    np.savez(tmp_path / "d.npz", x=rng.normal(size=(600_000, 8)).astype(np.float32), label=rng.integers(0, 5, 600_000))
    job = {
        "model": str(world.folder / "classifier"),
        "data": {"files": "d.npz", "inputs": {"x": "x"}, "label": "label"},
        "metrics": ["accuracy"],
        "batch_size": 4,
        "output": "run",
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    done = start(["harness", "evaluate", "job.json"], tmp_path)
    assert done.code == 0, done.err
    (rank,) = json.loads((tmp_path / "run" / "run.json").read_text())["attempts"][-1]["ranks"]
    split, seconds = rank["split_s"], rank["seconds"]
    assert list(split) == ["start", "other", "compiling", "reading", "predicting", "waiting", "reducing", "writing"]
    inside = sum(split[name] for name in ("other", "compiling", "reading", "predicting"))
    assert inside == pytest.approx(seconds["evaluate"], abs=1e-5)
    assert split["start"] == pytest.approx(
        sum(seconds[name] for name in ("import", "connect", "open", "build", "resume")), abs=1e-5
    )
    assert split["writing"] == seconds["write"] > 0
    assert done.out.count("seconds: start ") == 1
