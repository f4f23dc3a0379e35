"""The examples that are kept, against a plain sort of all of them: ties, NaN, infinite losses, slices, cells, uneven shares."""

from __future__ import annotations

import numpy as np
import pytest

from harness.data import Feature
from harness.data.memory import from_arrays
from harness.exact.draws import stream
from harness.exact.splitmix import mix
from harness.job.job import Job
from harness.metrics import make
from harness.plan.plan import Plan
from harness.prepare.binding import ask
from harness.ranks.share import FixedShare
from harness.run.loop import evaluate
from harness.step.array_feed import ArrayFeed
from harness.step.step import Step
from harness.sums.accumulator import Accumulator
from harness.sums.grid import decode
from harness.sums.selection import CELL, ID, LIST, SLOT

pytestmark = pytest.mark.slow

EXAMPLES, CLASSES, BATCH = 331, 3, 8
RNG = np.random.default_rng(5)
# Quarters, so that many losses are equal; some labels are held to be impossible, some outputs are NaN.
SCORES = RNG.multinomial(4, [1 / 3] * 3, EXAMPLES).astype(np.float32) / 4
SCORES[RNG.random(EXAMPLES) < 0.03] = np.nan
LABEL = RNG.integers(0, CLASSES, EXAMPLES)
CITY = RNG.choice(["Oslo", "Rome", "Kyiv"], EXAMPLES)
WEIGHT = RNG.random(EXAMPLES).astype(np.float32)
AMOUNT = (SCORES[:, 0] * 8).astype(np.float32)
ARRAYS = {"scores": SCORES, "label": LABEL, "city": CITY, "weight": WEIGHT, "amount": AMOUNT}


def job_of(metric="cross_entropy", **examples) -> Job:
    document = {
        "model": "none",
        "data": {"files": "none.npz", "label": "label", "weight": "weight"},
        "metrics": [metric, "accuracy"],
    }
    return Job.from_dict({**document, "slices": ["city"], "examples": examples, "batch_size": BATCH})


def kept(job: Job, shares: int = 1, label="label", output="scores"):
    """Evaluate chunks dealt out to so many accumulators; return the selection of all, its layout and the keys of slices."""
    source = from_arrays(ARRAYS)[0]
    plan = Plan(source.files, BATCH, 20)
    wanted = {"label": Feature("int64", ()), "scores": Feature("float32", (CLASSES,)), "city": Feature("string", ()),
              "weight": Feature("float32", ()), "amount": Feature("float32", ())}  # fmt: skip
    metrics = make(job.metrics)
    question = ask(job, metrics, {key: m.binding(output, label, "weight") for key, m in metrics.items()}, None)
    feed = ArrayFeed(source, wanted, BATCH)
    feed.open(FixedShare([plan[0]]))
    step = Step(lambda features: {"scores": features["scores"], "amount": features["amount"]}, question, feed)
    total = None
    for rank in range(shares):
        share = FixedShare([plan[index] for index in range(rank, len(plan), shares)][:: (-1) ** rank])
        feed.open(share)
        step.clear()
        accumulator = Accumulator(step.layouts, step.grid.take)
        evaluate(share, step, accumulator, lambda chunk: None)
        if total is None:
            total = accumulator.total()
        else:
            total.add(accumulator.total())
    return total.selection, step.layouts.examples, total.grid.keys, question


def loss() -> np.ndarray:
    with np.errstate(divide="ignore"):
        return -np.log(SCORES[np.arange(EXAMPLES), LABEL].astype(np.float64))


def first(order: np.ndarray, among: np.ndarray, most: int) -> list[int]:
    """The ids of the first examples by (order, id), by a plain sort."""
    return sorted(np.flatnonzero(among).tolist(), key=lambda example: (order[example], example))[:most]


def lists() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Of each list what it is sorted by, and which examples may be in it."""
    nan = np.isnan(SCORES).any(axis=1)
    noise = mix(np.arange(EXAMPLES).astype(np.uint64) ^ np.uint64(stream(7))).view(np.int64)
    return {
        "worst": (np.where(nan, -np.inf, -np.minimum(loss(), 1e300)), np.ones(EXAMPLES, bool)),
        "confident": (-SCORES.max(axis=1), ~nan & (SCORES.argmax(axis=1) != LABEL)),
        "random": (noise, np.ones(EXAMPLES, bool)),
    }


@pytest.mark.parametrize("per", ["slice", "confusion"])
def test_what_is_kept_is_what_a_plain_sort_puts_first(per):
    spec = {"worst": 6, "per": per, "also": ["confident", "random"], "seed": 7}
    selection, layout, keys, question = kept(job_of(**spec), 3)
    nan = np.isnan(SCORES).any(axis=1)
    cell = np.where(nan, -1, LABEL * CLASSES + np.nan_to_num(SCORES).argmax(axis=1))
    groups = {(0, -1): np.ones(EXAMPLES, bool)}
    if per == "slice":
        groups |= {(slot, -1): decode(key, question.slices).values[0] == CITY for slot, key in enumerate(keys, start=1)}
    elif per == "confusion":
        groups |= {(0, number): cell == number for number in range(CLASSES**2)}
    wanted = {
        (number, *group): ids
        for number, (order, allowed) in enumerate(lists().values())
        for group, among in groups.items()
        if (ids := first(order, allowed & among, 6))
    }
    table = selection.table
    found: dict[tuple[int, ...], list[int]] = {}
    for entry in table.tolist():
        found.setdefault((entry[LIST], entry[SLOT], entry[CELL]), []).append(entry[ID])
    assert found == wanted
    ids = table[:, ID]
    np.testing.assert_array_equal(layout.column("loss", table), np.where(nan, np.nan, loss())[ids])
    np.testing.assert_array_equal(layout.column("label", table), LABEL[ids])
    np.testing.assert_array_equal(
        layout.column("prediction", table), np.where(nan, -1, np.nan_to_num(SCORES).argmax(axis=1))[ids]
    )
    np.testing.assert_array_equal(layout.scores_of(table), SCORES[ids])
    assert layout.scores_of(table).dtype == np.float32
    assert np.isnan(layout.column("loss", table)[:6]).all() and np.isinf(loss()[~nan]).any()  # NaN is worst, then infinity


def test_numbers_are_kept_with_label_and_prediction():
    selection, layout, _, _ = kept(job_of("mean_absolute_error", worst=20, by="mean_absolute_error"), output="amount")
    table, error = selection.table, np.abs(LABEL - AMOUNT.astype(np.float64))
    assert table[:, ID].tolist() == first(np.where(np.isnan(AMOUNT), -np.inf, -error), np.ones(EXAMPLES, bool), 20)
    np.testing.assert_array_equal(layout.column("prediction", table), AMOUNT[table[:, ID]])
    assert layout.scores[0] == 0
