"""Questions as JSON: every metric comes back with every option, and nothing that a file names is run."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

import pytest
from pydantic import ValidationError

from harness.errors import JobError
from harness.job.specs import BootstrapSpec, SlicesSpec
from harness.metrics import METRICS, load
from harness.metrics.contract import Binding, Inputs, Metric, ScoreScale, Totals
from harness.metrics.question import Question
from harness.metrics.question_json import Placeholder, from_json, placeholders, to_json
from tests.laws import WEIGHTED, case

SLICES = SlicesSpec.model_validate(
    {"by": [["city"], [{"feature": "age", "buckets": [18, 0.1 + 64, math.inf]}, "b\udc80d"]], "minimum": 3, "maximum": 77}
)
BOOTSTRAP = BootstrapSpec(replicates=7, seed=2**40, cluster="user", level=0.9)
VALUES = [
    True, False, 0, 1, 2, 3, 16.0, 0.1, 0.25, 1e-300, math.inf, "a name", "é\n", [0.1, 0.7], [2, 5], [], ["rougeL"],
]  # fmt: skip
BINDING = Binding(
    Inputs.BINARY, "p", "y", "w", 255, True, 3, 7, True, (("query", "q"),), (("scores", "s"),), ScoreScale.DECISION
)  # fmt: skip


class Cost(Metric):
    """A metric of a user's own."""

    inputs = Inputs.NUMBERS
    summary = "a cost"
    sure: float = 1.0

    def value(self, totals: Totals) -> float:
        return self.sure


class Curious(Metric):
    """One whose options are no JSON."""

    inputs = Inputs.NUMBERS
    summary = "curious"
    change: Callable[[float], float] = abs


def asked(metrics: dict[str, Metric], **keys: Any) -> Question:
    bindings = {key: metric.binding("out", "y", None) for key, metric in metrics.items()}
    return Question(metrics, bindings, **keys)


def again(question: Question, own: Any = None) -> Question:
    """Through the text of a file, in standard JSON."""
    return from_json(json.loads(json.dumps(to_json(question), allow_nan=False)), own)


def literals(annotation: Any) -> Iterator[Any]:
    if getattr(annotation, "__origin__", None) is Literal:
        yield from get_args(annotation)
    for part in get_args(annotation):
        yield from literals(part)


def variants(name: str) -> Iterator[tuple[str, Metric]]:
    """The metric with each of its options changed, one at a time, in each way that it takes."""
    kind = load(name)
    # Some options only go together with another.
    for base in (
        case(name),
        {**case(name), "threshold": 0.7},
        {**case(name), "things": [1]},
        {**case(name), **WEIGHTED.get(name, {})},
    ):
        if not set(base) <= set(kind.model_fields):
            continue
        plain = kind.model_validate(base)
        for option, field in kind.model_fields.items():
            for value in [*literals(field.annotation), *VALUES]:
                try:
                    changed = kind.model_validate({**base, option: value})
                    changed.binding("out", "y", None)
                except (ValidationError, JobError):
                    continue
                if getattr(changed, option) != getattr(plain, option):
                    yield option, changed


@pytest.mark.parametrize("unknown_label", ["error", "skip", "null"])
def test_what_becomes_of_unknown_labels_is_written_where_it_is_said(unknown_label: Any) -> None:
    question = asked({"accuracy": load("accuracy")()}, classes=("a", "b"), unknown_label=unknown_label)
    assert again(question) == question
    assert ("unknown_label" in to_json(question)) == (unknown_label != "error")
    with pytest.raises(ValueError, match="expected error, skip or null, found 'drop'"):
        from_json({**to_json(question), "unknown_label": "drop"})


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_comes_back_with_every_option(name: str) -> None:
    found = dict(enumerate(variants(name)))
    assert {option for option, _ in found.values()} >= set(load(name).model_fields)
    question = asked({f"{number} {option}": metric for number, (option, metric) in found.items()})
    assert again(question) == question
    for metric, other in zip(question.metrics.values(), again(question).metrics.values(), strict=True):
        assert type(metric) is type(other) and repr(metric) == repr(other)  # 1 and 1.0 are told apart


def test_all_else_comes_back() -> None:
    metrics = {"left/accuracy": load("accuracy")(), "right/accuracy": load("accuracy")()}
    question = Question(metrics, dict.fromkeys(metrics, BINDING), SLICES, BOOTSTRAP, ("cat", "dög"), ("left", "right"))
    assert again(question) == question and list(again(question).metrics) == list(metrics)
    assert repr(again(question)) == repr(question)
    nothing = Question({}, {})
    assert again(nothing) == nothing


def test_metrics_of_the_users_own_are_named_never_run() -> None:
    question = asked({"cost": Cost(sure=2.0), "curious": Curious(), "accuracy": load("accuracy")()})
    document = to_json(question)
    place = f"{__name__}:Cost"
    assert document["metrics"][0] | {"binding": None, "options": {}} == {
        "key": "cost",
        "python": place,
        "options": {},
        "binding": None,
    }
    assert document["metrics"][1]["options"] is None
    assert again(question, {place: Cost}.__getitem__).metrics["cost"] == Cost(sure=2.0)
    unknown = again(question)
    assert set(placeholders(unknown)) == {"cost", "curious"} and unknown.metrics["accuracy"] == load("accuracy")()
    assert unknown.bindings == question.bindings  # examples are counted by what they read
    assert placeholders(unknown)["cost"].startswith(place)
    assert to_json(unknown)["metrics"][0]["python"] == place


def test_why_a_metric_does_not_come_back() -> None:
    def missing(target: str) -> type[Metric]:
        raise JobError(f"no module for {target}")

    question = asked({"cost": Cost(sure=2.0), "local": type("Local", (Cost,), {})()})
    assert placeholders(again(question, missing))["cost"] == f"{__name__}:Cost: no module for {__name__}:Cost"
    other = placeholders(again(question, lambda target: load("huber")))
    assert "does not take the options" in other["cost"]
    assert isinstance(again(question, load).metrics["local"], Placeholder)  # it has no place of its own in a module


@pytest.mark.parametrize(
    "document",
    [
        None, 7, [], {}, {"metrics": None}, {"metrics": [], "slices": None},
        {"metrics": [{}], "slices": None, "bootstrap": None, "classes": None, "models": []},
        {"metrics": [], "slices": {"by": 3}, "bootstrap": None, "classes": None, "models": []},
        {"metrics": [], "slices": None, "bootstrap": {"replicates": -1}, "classes": None, "models": []},
        {"metrics": [], "slices": None, "bootstrap": None, "classes": [1], "models": []},
        {"metrics": [{"key": "a", "metric": "os:system", "options": {}, "binding": {}}], "slices": None, "bootstrap": None, "classes": None, "models": []},
    ],
)  # fmt: skip
def test_what_is_no_question_is_refused(document: Any) -> None:
    with pytest.raises(ValueError, match="not a question as a run writes it"):
        from_json(document)


def test_reading_and_writing_load_no_tensorflow() -> None:
    code = (
        "import sys, json; from harness.metrics import make; from harness.job.job import MetricSpec;"
        "from harness.metrics.question import Question; from harness.metrics.question_json import *;"
        "m = make([MetricSpec(name='roc_auc')]); q = Question(m, {k: x.binding('p', 'y', None) for k, x in m.items()});"
        "assert from_json(json.loads(json.dumps(to_json(q)))) == q; assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
