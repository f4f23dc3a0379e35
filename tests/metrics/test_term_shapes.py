"""A metric that reduces over the batch is refused, with its name, the shape, file and line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from harness.errors import ShapeError
from harness.metrics.contract import Metric
from harness.step.terms import Terms
from tests.metrics import reducing
from tests.metrics.reducing import REDUCING, Honest, HostReducing, Outer

LABELS = np.array([0.5, 1.0, 2.0, 0.25, 1.5, 3.0, 1.0])
SHAPES = {
    "Mean": "one number, []", "Kept": "[1]", "Columns": "[2]", "Wide": "[7, 2, 2]", "Low": "one number, []", "Spread": "[7, 2]",
    "Bucket": "one number, []", "Some": "[?]", "Constant": "one number, []", "Crossed": "[1, 2]", "Each": "one number, []",
    "Row": "[1]",
}  # fmt: skip


def line_of(kind: type) -> str:
    """Return file:line of the line that bears the metric's name as a comment."""
    source = Path(reducing.__file__).read_text().splitlines()
    (number,) = [n for n, line in enumerate(source, start=1) if re.search(rf"# .*\b{kind.__name__}$", line)]
    return f"{reducing.__file__}:{number}"


def trace(metric: Metric, count: int = 7, *, graph: bool = True) -> Any:
    """Form the terms of a batch, traced as in a run or operation by operation."""
    labels = tf.constant(LABELS[:count])
    form = Terms({"own": metric}, {"own": metric.binding("output", "label", None)})

    def terms() -> Any:
        return form({"label": labels}, {"output": labels + 1}, tf.ones([count], tf.bool)).sums()

    return tf.function(terms, autograph=False)() if graph else terms()


@pytest.mark.parametrize("kind", REDUCING)
def test_what_reduces_over_the_batch_is_refused(kind: type[Metric]) -> None:
    with pytest.raises(ShapeError) as caught:
        trace(kind())
    text = str(caught.value)
    assert text.startswith("metric own: term '")
    assert f" {SHAPES[kind.__name__]}, expected [N" in text
    assert "N = 7 positions" in text
    assert line_of(kind) in text


@pytest.mark.parametrize("kind", [kind for kind in REDUCING if kind.__name__ != "Some"])  # whose shape is known then
def test_it_is_refused_operation_by_operation_too(kind: type[Metric]) -> None:
    with pytest.raises(ShapeError, match=r"metric own: term .* expected \[N.*reducing\.py:\d+"):
        trace(kind(), graph=False)


@pytest.mark.parametrize("graph", [True, False])
def test_what_compares_the_positions_of_a_batch_is_refused(graph) -> None:
    with pytest.raises(ShapeError) as caught:
        trace(Outer(), graph=graph)
    text = str(caught.value)
    assert text.startswith("metric own: term 'error' is [7, 7], expected [N, K]")
    assert (line_of(Outer) if graph else "reducing.py:") in text


def test_what_has_a_line_for_each_position_is_not() -> None:
    for graph in (True, False):
        trace(Honest(), graph=graph)
        trace(Honest(), 2, graph=graph)  # as many columns as positions, by chance
        trace(HostReducing(way="none"), graph=graph)


@pytest.mark.parametrize("way", ["mean", "kept"])
def test_a_library_that_reduces_is_refused_before_there_is_work(way: str) -> None:
    with pytest.raises(ShapeError) as caught:
        trace(HostReducing(way=way))
    assert str(caught.value).startswith("metric own: HostReducing.host_terms is [")
    assert "expected [n, 2]" in str(caught.value) and line_of(HostReducing) in str(caught.value)


def test_a_library_that_forgets_an_example_is_refused() -> None:
    with pytest.raises(Exception, match=r"host_terms is \[6, 2\], expected \[n, 2\], a line for each of n = 7 examples"):
        trace(HostReducing(way="last"))
