"""What becomes of a value that is no number: null and why, never a file with NaN in it, and never a lost run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from harness.metrics.classification import Accuracy
from harness.metrics.contract import Binding, Inputs, Totals
from harness.results.values import result
from harness.sums.layout import Counted, Layout, Status

BINDING = Binding(Inputs.CLASSES, "p", "y")
LAYOUT = Layout(summed=(), counted=(Counted((BINDING, "status"), len(Status)), Counted(("own", "correct"), 2)))


class Own(Accuracy):
    """A metric whose author did not think of what cannot be divided."""

    answer: Any = math.nan
    error: float | None = None

    def value(self, totals: Totals) -> Any:
        return self.answer

    def standard_error(self, totals: Totals) -> float | None:
        return self.error


def value_of(answer: Any, error: float | None = None) -> Any:
    state = np.zeros(LAYOUT.size, np.int64)
    state[Status.VALID] = 10
    metric = Own()
    object.__setattr__(metric, "answer", answer)
    object.__setattr__(metric, "error", error)
    return result(LAYOUT, state, "own", metric, BINDING, None)


@pytest.mark.parametrize(
    "answer, reason",
    [
        (math.nan, "its value came out as nan"),
        (-math.inf, "its value came out as -inf"),
        (np.float64("nan"), "its value came out as nan"),
        ({"low": 1.0, "high": math.inf}, "its value came out as inf for high"),
    ],
)
def test_what_is_no_number_is_null_with_its_reason(answer: Any, reason: str) -> None:
    answered = value_of(answer)
    assert (answered.value, answered.reason, answered.examples) == (None, reason, 10)


def test_an_error_that_is_no_number_leaves_the_value() -> None:
    answered = value_of(0.5, math.nan)
    assert (answered.value, answered.standard_error, answered.no_error) == (0.5, None, "its standard error came out as nan")
