"""Values of many replicates at once: the bits of one at a time, whatever the sums are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.exact.limbs import CELL, LIMBS, to_cells
from harness.job.job import Job
from harness.metrics.classification import Accuracy, CrossEntropy
from harness.metrics.contract import Binding, Inputs, Metric, PlainMean, Totals
from harness.metrics.question import Question
from harness.metrics.regression import MeanSquaredError, RootMeanSquaredError
from harness.results.outcome import outcome
from harness.results.values import result
from harness.sums.grid import GridLayout, GridState
from harness.sums.layout import Counted, Layout, Status, Summed
from harness.sums.reduction import GrandTotal
from harness.sums.selection import ExamplesLayout, Selection
from harness.sums.sums import Layouts

DRAWS, SLOTS = 60, 3
BINDING = Binding(Inputs.CLASSES, "p", "y")
STATUS = Counted((BINDING, "status"), len(Status))
METRICS: dict[str, Metric] = {
    "accuracy": Accuracy(),
    "cross_entropy": CrossEntropy(),
    "mse": MeanSquaredError(),
    "rmse": RootMeanSquaredError(),
}
LAYOUT = Layout(
    summed=tuple(
        Summed((key, name + kind), ())
        for key, name in (("cross_entropy", "loss"), ("mse", "error"), ("rmse", "error"))
        for kind in ("", "^2")
    ),
    counted=(STATUS, Counted(("accuracy", "correct"), 2)),
)
GRID = GridLayout(LAYOUT.summed, (), LAYOUT.counted, (), LAYOUT)


def grid() -> GridState:
    """Random sums; and draws without an example, with invalid ones, with refused terms, of terms next to zero, with more than 2^31 positions."""
    rng = np.random.default_rng(4)
    numbers = np.abs(rng.standard_normal((SLOTS, DRAWS + 1, 6, 50))) * 2.0 ** rng.integers(-100, 60, (SLOTS, DRAWS + 1, 6, 50))
    dense = to_cells(numbers).sum(axis=3)
    status = np.zeros((SLOTS, len(Status), DRAWS + 1), np.int64)
    status[:, Status.VALID] = rng.integers(40, 60, (SLOTS, DRAWS + 1))
    status[:, Status.VALID, 3] = 0
    status[:, Status.LABEL, 4] = 2
    status[:, Status.VALID, 5] = 2**31 + 12345
    dense[:, 6, :, LIMBS] = 1
    dense[:, 7, :, 0], dense[:, 7, :, 1:LIMBS] = 5, 0
    dense[:, 7:9, :, LIMBS + 1] = 3
    right = rng.integers(0, 40, (SLOTS, DRAWS + 1)) * (status[:, Status.VALID] > 0)
    correct = np.stack([status[:, Status.VALID] - right, right], axis=1)
    return GridState(
        ("0\x1ei1", "0\x1ei2"),
        dense.reshape(SLOTS, DRAWS + 1, -1),
        np.concatenate([status, correct], axis=1),
        np.zeros((SLOTS, 0, DRAWS + 1, CELL), np.int64),
    )


def test_replicates_together_are_those_one_by_one() -> None:
    sums = grid()
    job = Job.from_dict(
        {
            "model": "m", "data": {"files": "f.npz", "inputs": {"x": "x"}, "label": "y"}, "metrics": ["accuracy"],
            "slices": [["writer"]], "bootstrap": {"replicates": DRAWS, "seed": 1},
        }
    )  # fmt: skip
    bindings = dict.fromkeys(METRICS, BINDING)
    total = GrandTotal(sums.state(0, 0, GRID), sums, {}, Selection.zero(ExamplesLayout()))
    question = Question(METRICS, bindings, job.slices, job.bootstrap)
    found = outcome(total, Layouts(LAYOUT, GRID, draws=DRAWS + 1), question)
    for key, metric in METRICS.items():
        one_by_one = [result(LAYOUT, sums.state(0, draw, GRID), key, metric, BINDING, None).value for draw in range(1, DRAWS + 1)]
        assert [None if np.isnan(x) else x for x in found.replicates[key]] == one_by_one
        assert one_by_one.count(None) == (4 if key != "accuracy" else 2)
    assert len(found.slices) == 2


def test_who_overrides_the_value_is_not_taken_for_a_plain_mean() -> None:
    class Doubled(Accuracy):
        def value(self, totals: Totals) -> Any:
            return 2 * super().value(totals)

    assert Accuracy().plain_mean() == PlainMean("correct", 1)
    assert Doubled().plain_mean() is None
    assert RootMeanSquaredError().plain_mean() is None


@pytest.mark.parametrize("kind", [Accuracy, CrossEntropy, MeanSquaredError])
def test_the_plain_mean_is_the_value(kind: type[Metric]) -> None:
    plain = kind().plain_mean()
    assert plain is not None
    sums = {plain.total: np.array([5, 2]) if plain.bucket is not None else np.array(2.0)}
    totals = Totals({name: np.asarray(s).astype(object) for name, s in sums.items()}, positions=7, weight=7)  # type: ignore[arg-type]
    assert kind().value(totals) == 2 / 7
