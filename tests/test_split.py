"""What the loop's time goes into: the sampler, and a real step that is made slow at one place."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter

import numpy as np
import pytest

from harness.split import Part, Sampler, shares


def test_the_sampler_counts_answers_until_it_is_stopped():
    asked = threading.Event()
    answers = iter([Part.READING, Part.METRICS, Part.METRICS])

    def doing():
        answer = next(answers, None)
        if answer is None:
            asked.set()
            return Part.OTHER
        return answer

    with Sampler(doing, every_s=0.001) as sampler:
        assert asked.wait(30)
    seen = dict(sampler.seen)
    assert (seen[Part.READING], seen[Part.METRICS]) == (1, 2) and seen[Part.OTHER] >= 1
    time.sleep(0.02)
    assert dict(sampler.seen) == seen


def test_shares_add_up_to_the_seconds():
    found = shares(Counter({Part.READING: 1, Part.PREDICTING: 4, Part.METRICS: 2, Part.OTHER: 1}), 4.0)
    assert found == {"other": 0.5, "reading": 0.5, "predicting": 2.0, "metrics": 1.0}


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
def test_the_step_says_where_its_time_goes(world, slow, format_):
    import tensorflow as tf

    from harness.job import Job
    from harness.metrics import make
    from harness.prepare import open_data, predictor, prepare_model
    from harness.tf_feed import ArrayFeed, PipelineFeed
    from harness.tf_step import Step
    from harness.tf_terms import Terms

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
    model, bindings, matched = prepare_model(job, metrics, opened)
    predict = predictor(model, matched)
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
    feed.start(chunks)
    step = Step(
        (lambda features: predict({name: late(tensor) for name, tensor in features.items()}))
        if slow == "predicting"
        else predict,
        (LateTerms if slow == "metrics" else Terms)(metrics, bindings),
        feed,
    )
    reading.set()
    assert step.doing() is Part.OTHER
    examples = 0
    with Sampler(step.doing, every_s=0.002) as sampler:
        while len((sums := step.run(1)).seen):
            examples += int(sums.seen[:, 1].sum())
    assert step.doing() is Part.OTHER
    assert examples == 203
    assert sampler.seen.most_common(1)[0][0] is Part[slow.upper()]


def test_run_json_splits_the_time_of_every_rank_and_show_prints_it(world, harness, tmp_path):
    rng = np.random.default_rng(3)
    np.savez(tmp_path / "d.npz", x=rng.normal(size=(20_000, 8)).astype(np.float32), label=rng.integers(0, 5, 20_000))
    job = {
        "model": str(world.folder / "classifier"),
        "data": {"files": "d.npz", "inputs": {"x": "x"}, "label": "label"},
        "metrics": ["accuracy"],
        "batch_size": 4,
        "output": "run",
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    done = harness("evaluate", "job.json")
    assert done.code == 0, done.err
    (rank,) = json.loads((tmp_path / "run" / "run.json").read_text())["attempts"][-1]["ranks"]
    split, seconds = rank["split_s"], rank["seconds"]
    assert list(split) == ["start", "other", "reading", "predicting", "metrics", "waiting", "reducing", "writing"]
    assert rank["split_answers"] > 0
    inside = sum(split[name] for name in ("other", "reading", "predicting", "metrics"))
    assert inside == pytest.approx(seconds["evaluate"], abs=1e-5)
    assert split["start"] == pytest.approx(
        sum(seconds[name] for name in ("import", "connect", "open", "build", "resume")), abs=1e-5
    )
    assert split["writing"] == seconds["write"] > 0
    assert done.out.count("seconds: start ") == 1
