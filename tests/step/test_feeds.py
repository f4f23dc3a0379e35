"""One step, whatever feeds it: arrays, a pipeline, a predictor outside the graph; compiled or operation by operation."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from harness.data import ID, Feature
from harness.data.content import ContentHash
from harness.data.memory import from_arrays
from harness.data.npy import open_npy
from harness.data.source import Origin
from harness.errors import DataError, HarnessError
from harness.job.job import Job
from harness.metrics import make
from harness.metrics.question import Question
from harness.plan.certificate import Certificate
from harness.plan.plan import Chunk, Plan
from harness.ranks.comm import SingleComm
from harness.ranks.share import FixedShare
from harness.ranks.tickets import Tickets
from harness.results.outcome import outcome
from harness.run.loop import evaluate
from harness.step import tensorflow as tf_setup
from harness.step.array_feed import ArrayFeed
from harness.step.failure import translate
from harness.step.pipeline_feed import PipelineFeed
from harness.step.predicted_feed import PredictedFeed, Settings
from harness.step.step import Step
from harness.sums.accumulator import Accumulator
from harness.sums.reduction import reduce
from tests import made
from tests.sums.test_sums import canonical

pytestmark = pytest.mark.slow

BATCH = 8
EXAMPLES = made.examples()
WANTED = {"x": Feature("float32", (made.WIDTH,)), "label": Feature("int64", ()), "weight": Feature("float32", ())}
SOURCE = from_arrays({"x": EXAMPLES.x, "label": EXAMPLES.label, "weight": EXAMPLES.weight})[0]
PLAN = Plan(SOURCE.files, BATCH, 20)  # chunks of two batches and a half
KERNEL = tf.constant(made.kernel())
JOB = Job.from_dict(
    {
        "model": "none",
        "data": {"files": "none.npz", "label": "label", "weight": "weight"},
        "metrics": ["accuracy", "cross_entropy", "one_vs_rest_roc_auc"],
        "slices": {"by": ["label"]},
        "bootstrap": {"replicates": 7},
        "batch_size": BATCH,
    }
)
METRICS = make(JOB.metrics)
QUESTION = Question(
    METRICS, {key: metric.binding("scores", "label", "weight") for key, metric in METRICS.items()}, JOB.slices, JOB.bootstrap
)


def predict(features):
    return {"scores": tf.nn.softmax(features["x"] @ KERNEL)}


class Shuffled:
    """Predicts in threads, each answer after a while of its own: they come back in another order than they were asked for."""

    def __init__(self, fails_at: int | None = None, slow_s: float = 0.02):
        self.outputs = {"scores": Feature("float32", (made.CLASSES,))}
        self.features = {}
        self.asked = 0
        self.answered: list[int] = []
        self.most_under_way = 0
        self._fails_at = fails_at
        self._slow_s = slow_s
        self._random = random.Random(3)
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(5)
        self._graph = tf.function(predict, autograph=False)

    def submit(self, features, place):
        assert place.chunk < len(PLAN) and set(place.ids[: place.count].tolist()) <= set(range(made.EXAMPLES))
        with self._lock:
            number, self.asked = self.asked, self.asked + 1
            self.most_under_way = max(self.most_under_way, self.asked - len(self.answered))
        return self._pool.submit(self._answer, number, features, self._random.choice([0.0, self._slow_s]))

    def _answer(self, number, features, after_s):
        time.sleep(after_s)
        if number == self._fails_at:
            raise DataError("the endpoint refused a batch")
        outputs = self._graph({"x": features["x"]})["scores"].numpy()
        with self._lock:
            self.answered.append(number)
        return {"scores": outputs}


def share_of(chunks):
    return FixedShare([PLAN[index] for index in range(len(PLAN))][:chunks])


class Noted:
    """A step whose columns are kept."""

    def __init__(self, step, columns):
        self._step = step
        self._columns = columns

    def run(self, most=None):
        call = self._step.run(most)
        self._columns.append({name: [part.tolist() for part in parts] for name, parts in call.columns.items()})
        return call


def evaluated(feed, predictor=predict, *, eager=False, chunks=None):
    """Evaluate chunks twice with one step; return what they add up to, their values, and what the host got."""
    share = share_of(chunks)
    feed.open(share)
    take = lambda features, outputs: {"scores": outputs["scores"], "label": features["label"]}  # noqa: E731
    step = Step(predictor, QUESTION, feed, take=take, eager=eager)
    totals = []
    for _ in range(2):
        feed.open(share)
        accumulator = Accumulator(step.layouts, step.grid.take)
        columns = []
        try:
            evaluate(share, Noted(step, columns), accumulator, lambda chunk: None)
        except Exception as exc:
            raise translate(exc, feed, PLAN, share.unfinished, JOB) from exc
        certificate = Certificate(PLAN)
        certificate.expect(share.chunks)
        total = accumulator.total()
        certificate.add(total.lines)
        assert share.unfinished == () and feed.records_read == sum(chunk.stop - chunk.start for chunk in share.chunks)
        assert not chunks or certificate.problems() == []
        sums = canonical(total)
        batches = {name: [part for call in columns for part in call.get(name, [])] for name in (ID, "scores", "label")}
        totals.append((sums, batches))
        if chunks is None:
            reduced = reduce(SingleComm(), total, step.layouts, QUESTION, certificate, 0)
            assert reduced.certificate.problems() == []
            totals[-1] += (repr(outcome(reduced, step.layouts, QUESTION).results),)
    assert totals[0] == totals[1]
    return totals[0]


@pytest.fixture(scope="module")
def expected():
    return evaluated(PipelineFeed(SOURCE, WANTED, BATCH, 1))


def test_arrays_and_a_pipeline_give_the_same(expected):
    assert evaluated(ArrayFeed(SOURCE, WANTED, BATCH)) == expected


def test_a_predictor_outside_the_graph_gives_the_same_whatever_order_its_answers_have(expected):
    predictor = Shuffled()
    feed = PredictedFeed(SOURCE, WANTED, predictor, Settings(BATCH, 1, 6))
    assert evaluated(feed, None) == expected
    assert predictor.most_under_way >= 4
    assert sorted(predictor.answered) == list(range(predictor.asked)) != predictor.answered


def test_a_predictor_outside_the_graph_that_fails_is_reported_as_it_is():
    feed = PredictedFeed(SOURCE, WANTED, Shuffled(fails_at=9), Settings(BATCH, 1, 6))
    with pytest.raises(HarnessError, match="^the endpoint refused a batch$"):
        evaluated(feed, None)


class Counter:
    """Counts for one rank of three."""

    at = 0

    def take(self, number):
        before, self.at = self.at, self.at + number
        return before


@pytest.mark.timeout(240)
def test_a_predictor_outside_the_graph_with_tickets_waits_for_no_chunk_that_comes_later():
    feed = PredictedFeed(SOURCE, WANTED, Shuffled(), Settings(BATCH, 1, 16))  # more than the first tickets hold
    share = Tickets(PLAN, np.arange(len(PLAN)), 3, Counter())
    feed.open(share)
    step = Step(None, QUESTION, feed)
    accumulator = Accumulator(step.layouts, step.grid.take)
    evaluate(share, step, accumulator, lambda chunk: None)
    assert accumulator.examples == made.EXAMPLES


@pytest.mark.parametrize("kind", [ArrayFeed, lambda *args: PipelineFeed(*args, 1)])
@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("chunks", [None, 0])
def test_operation_by_operation_and_with_nothing_to_do(expected, kind, eager, chunks):
    tf.config.run_functions_eagerly(eager)
    try:
        sums, batches, *values = evaluated(kind(SOURCE, WANTED, BATCH), eager=eager, chunks=chunks)
    finally:
        tf.config.run_functions_eagerly(False)
    if chunks is None:
        assert (sums, batches, *values) == expected
    else:
        assert sums["lines"] == [] and not any(sums["state"]) and batches == {ID: [], "scores": [], "label": []}


def test_a_share_says_what_is_not_done():
    share = share_of(3)
    drawn = list(share.draw(ahead=True))
    assert share.under_way == drawn[0] and share.unfinished == tuple(drawn)
    share.finish(drawn[1].index)
    assert share.under_way == drawn[2] and share.unfinished == tuple(drawn[2:])
    share.finish(drawn[2].index)
    assert share.under_way == drawn[2] and share.unfinished == ()
    list(share.draw(ahead=False))
    assert share.unfinished == tuple(drawn)
    assert FixedShare([]).under_way is None
    np.testing.assert_array_equal([chunk.index for chunk in share.chunks], [0, 1, 2])


class Counted(ContentHash):
    """A content hash that notes how many examples it has hashed."""

    examples = 0

    def of(self, records):
        self.examples += len(records.ids)
        return super().of(records)


def test_arrays_are_hashed_once_and_mapped_files_each_time(tmp_path):
    np.save(tmp_path / "x.npy", EXAMPLES.x)
    for name in ("label", "weight"):
        np.save(tmp_path / f"{name}.npy", getattr(EXAMPLES, name))
    hashed = {}
    for source in (SOURCE, open_npy(Origin(sorted(map(str, tmp_path.glob("*.npy")))))):
        content = Counted()
        evaluated(ArrayFeed(source, WANTED, BATCH, content))
        hashed[source.mapped] = content.examples
    assert hashed == {False: len(EXAMPLES.x), True: 2 * len(EXAMPLES.x)}


@pytest.mark.parametrize("dtype", ["f4", ">f4", "S3", "U3", "O", "?", ml_dtypes.bfloat16, ml_dtypes.float8_e5m2])
def test_what_is_hashed_is_what_is_evaluated_whatever_becomes_of_an_array(dtype):
    array = np.array(["no", "yes"] * 8).astype(dtype) if dtype in ("S3", "U3", "O") else np.arange(16).astype(dtype)
    wanted = {"a": Feature("string" if array.dtype.kind in "SUO" else array.dtype.newbyteorder("=").name, ())}

    chunk = Chunk(0, 0, 16)

    def content_hash(change):
        held = array.copy()
        feed = ArrayFeed(from_arrays({"a": held})[0], wanted, BATCH, ContentHash())
        held[change] = held[change + 1]
        feed.open(FixedShare([chunk]))
        feed.draw(1)
        return feed.seal(np.zeros([1, 6], np.int64))[0].tolist()

    before = array.copy()
    assert content_hash(np.array([], int)) == content_hash(np.array([2, 5])) and (array == before).all()


class Noticed(FixedShare):
    """A share that says when its fourth chunk is drawn."""

    def __init__(self, chunks):
        super().__init__(chunks)
        self.fourth = threading.Event()

    def draw(self, *, ahead):
        for number, chunk in enumerate(super().draw(ahead=ahead)):
            if number == 3:
                self.fourth.set()
            yield chunk


def drawing(features):
    return {**features, "x": features["x"] + tf.random.stateless_uniform([], seed=[1, 2]) * 0}


def counting(features):
    return {**features, "x": features["x"] + tf.random.uniform([], seed=1) * 0}


def calling(features):
    called = tf.numpy_function(lambda x: x, [features["x"]], tf.float32, stateful=False)
    return {**features, "x": tf.ensure_shape(called, features["x"].shape)}


class Transformed(type(SOURCE)):
    """A source with a transform of somebody's own."""

    def __init__(self, transform):
        self.__dict__.update(SOURCE.__dict__)
        self._transform = transform

    def parse(self, raw, wanted):
        return self._transform(super().parse(raw, wanted))


@pytest.mark.parametrize("transform, ahead", [(dict, True), (drawing, True), (counting, False), (calling, False)])
def test_batches_are_read_ahead_where_that_changes_nothing_in_them(transform, ahead):
    share = Noticed([PLAN[index] for index in range(len(PLAN))])
    with tf_setup.op_determinism(True):
        feed = PipelineFeed(Transformed(transform), WANTED, BATCH, 2)
        feed.open(share)
        next(feed.draw(1)[0])
        assert share.fourth.wait(20 if ahead else 1) == ahead
