"""What the loop's time goes into: traces, and a real step that is made slow at one place."""

from __future__ import annotations

import json
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from harness.watch.time_split import Part, Span, Watched, divide
from tests.conftest import start


def test_time_is_divided_and_shared_where_parts_overlap():
    spans = [Span(10, 30, None), Span(12, 18, Part.PREDICTING), Span(14, 20, Part.PREDICTING), Span(16, 24, Part.METRICS)]
    assert divide(spans) == {Part.READING: 0.4, Part.PREDICTING: 0.3, Part.METRICS: 0.3}
    assert divide([]) == {} == divide([Span(3, 3, Part.METRICS)])


class Steps:
    """A step of a few milliseconds a call; after `full` calls there is nothing left."""

    def __init__(self, full=1000):
        self.asked = []
        self.full = full

    def run(self, most=None):
        self.asked.append(most)
        time.sleep(0.002)
        return SimpleNamespace(number=len(self.asked), batches=[0] if len(self.asked) <= self.full else [])


def test_calls_are_traced_when_it_is_due_and_cost_a_hundredth():
    step, traced = Steps(), []

    def trace(call):
        time.sleep(0.001)
        traced.append(len(step.asked))
        return call(), [Span(0, 4, None), Span(0, 3, Part.PREDICTING), Span(3, 4, Part.METRICS)]

    watched = Watched(step, trace, after_s=0.01)
    assert [watched.run(9).number for _ in range(40)] == list(range(1, 41))
    assert watched.traces == len(traced) == 1 and 2 <= traced[0] <= 6  # the next one would come a hundred times its cost later
    assert step.asked[traced[0]] == 4 and step.asked.count(9) == 39
    parts = watched.parts(watched.first_s + watched.inside_s + 1.0)
    assert parts["other"] == pytest.approx(1.0, abs=1e-5) and parts["reading"] == 0.0
    assert parts["predicting"] == pytest.approx(watched.inside_s * 0.75, abs=1e-5)
    assert parts["metrics"] == pytest.approx(watched.inside_s * 0.25, abs=1e-5)


def test_a_call_that_found_nothing_left_divides_nothing():
    spans = [Span(0, 4, None), Span(0, 3, Part.PREDICTING)]
    watched = Watched(Steps(full=3), lambda call: (call(), spans), after_s=0.005)
    while len(watched.run().batches):
        pass
    assert watched.traces == 0 and set(watched.parts(1.0)) == {"other", "compiling", "inside"}


def test_without_a_trace_there_is_no_division():
    watched = Watched(Steps(), lambda call: (call(), []), after_s=0.0)
    assert [watched.run().number for _ in range(3)] == [1, 2, 3]
    assert watched.traces == 0
    first, inside = watched.first_s, watched.inside_s
    assert watched.parts(5.0) == pytest.approx({"other": 5.0 - first - inside, "compiling": first, "inside": inside}, abs=1e-5)


def test_a_step_that_raises_ends_its_trace():
    from harness.step.trace import trace

    def broken():
        raise ValueError("no step")

    for _ in range(2):  # a trace that went on would be found by the next
        with pytest.raises(ValueError, match="no step"):
            trace(broken)
    found, spans = trace(lambda: 3)
    assert found == 3 and isinstance(spans, list)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("slow", "format_"),
    [
        ("reading", "pipeline"),
        ("predicting", "pipeline"),
        ("metrics", "pipeline"),
        ("predicting", "arrays"),
        ("metrics", "arrays"),
    ],
)
def test_the_step_says_where_its_time_goes(world, slow, format_, monkeypatch):
    import tensorflow as tf

    from harness.job.job import Job
    from harness.metrics import make
    from harness.prepare.prepare import open_data, predictor, prepare_model
    from harness.ranks.share import FixedShare
    from harness.step.array_feed import ArrayFeed
    from harness.step.pipeline_feed import PipelineFeed
    from harness.step.step import Step
    from harness.step.terms import Terms
    from harness.step.trace import trace

    def late(tensor):
        """Pass a tensor on, a while later."""

        def wait(array):
            time.sleep(0.1)
            return array

        found = tf.numpy_function(wait, [tensor], tensor.dtype, stateful=False)
        found.set_shape(tensor.shape)
        return found

    class LateTerms(Terms):
        def __call__(self, features, outputs, mask):
            return super().__call__(features, {name: late(tensor) for name, tensor in outputs.items()}, mask)

    job = Job.from_dict(
        {
            "model": str(world.folder / "classifier"),
            "data": {"files": str(world.folder / "all.npz"), "inputs": {"x": "x"}, "label": "label"},
            "metrics": ["accuracy"],
            "batch_size": 32,
            "chunk_size": 32,
        }
    )
    metrics, opened = make(job.metrics), open_data(job)
    prepared = prepare_model(job, metrics, opened)
    matched = prepared.matched
    predict = predictor(prepared.model, matched)
    make_feed = ArrayFeed if format_ == "arrays" else lambda *given: PipelineFeed(*given, 1)
    feed = make_feed(opened.source.select(matched.wanted), matched.wanted, job.batch_size)
    chunks = [opened.plan[index] for index in range(len(opened.plan))]
    reading = threading.Event()
    if slow == "reading":
        read = feed.source.read

        def slowly(*given):
            if reading.is_set():
                time.sleep(0.2)
            return read(*given)

        object.__setattr__(feed.source, "read", slowly)
    feed.open(FixedShare(chunks))
    monkeypatch.setattr("harness.step.step.Terms", LateTerms if slow == "metrics" else Terms)
    step = Step(
        (lambda features: predict({name: late(tensor) for name, tensor in features.items()}))
        if slow == "predicting"
        else predict,
        prepared.question,
        feed,
    )
    reading.set()
    for _ in range(4):  # what was read ahead while the step was compiled is used up
        assert len(step.run(1).batches)
    found, spans = trace(lambda: step.run(1))
    assert found.batches[:, 1].sum() == 32
    shares = divide(spans)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert max(shares, key=shares.get) is Part[slow.upper()], shares


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
    # A process of its own: TensorFlow's profiler sees nothing in one that was forked.
    done = start(["harness", "evaluate", "job.json"], tmp_path)
    assert done.code == 0, done.err
    (rank,) = json.loads((tmp_path / "run" / "run.json").read_text())["attempts"][-1]["ranks"]
    split, seconds = rank["split_s"], rank["seconds"]
    assert list(split) == ["start", "other", "compiling", "reading", "predicting", "metrics", "waiting", "reducing", "writing"]
    assert rank["split_traces"] > 0
    inside = sum(split[name] for name in ("other", "compiling", "reading", "predicting", "metrics"))
    assert inside == pytest.approx(seconds["evaluate"], abs=1e-5)
    assert split["start"] == pytest.approx(
        sum(seconds[name] for name in ("import", "connect", "open", "build", "resume")), abs=1e-5
    )
    assert split["writing"] == seconds["write"] > 0
    assert done.out.count("seconds: start ") == 1
