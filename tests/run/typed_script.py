"""Typed code as a user writes it: mypy has to take it in strict mode, and to refuse the lines that say `type: ignore`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

import harness
from harness.errors import HarnessError
from harness.metrics.contract import Inputs, Metric, Number, Term, Totals


class Error(Metric):
    """A metric of one's own."""

    inputs: ClassVar[Inputs] = Inputs.NUMBERS
    summary: ClassVar[str] = "mean of |label - prediction|"

    power: float = 1.0

    def terms(self, labels: Any, predictions: Any) -> Mapping[str, Term]:
        return {"error": Number(abs(labels - predictions) ** self.power)}

    def value(self, totals: Totals) -> float:
        return totals.mean("error")


def compare(old: Any, new: str, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float | None:
    try:
        results = harness.evaluate(
            {"old": old, "new": new}, (x, y), ["accuracy", {"top_k": {"k": 3}}], slices=["label"], bootstrap={"replicates": 200}
        )
    except HarnessError as exc:
        print(exc.exit_code)
        return None
    for name, value in results.items():
        print(name, value)
    print(results.intervals, results.slices, results.models, results.differences.shape, results.confusion_matrix)
    examples: int = results.certificate.examples
    document: dict[str, Any] = results.to_dict()
    return results.numbers["new/accuracy"] if examples and document else None


def choose(old: str, new: harness.Results, sweep: list[str]) -> float | None:
    compared = harness.compare(old, new, metrics=["accuracy"], pair=False)
    pairs = harness.compare_examples(old, new, discordant="x.csv").pairs
    (curve,) = harness.compare_checkpoints(*sweep, level=0.9).curves
    print(compared.comparisons[0].lines[0].difference.p, pairs.flip_rate, compared.text("markdown"))
    return curve.corrected


def train(model: Any, data: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]) -> list[float]:
    validation = harness.ExactValidation(data, "accuracy", every=2, batch_size=32)
    model.fit(*data, callbacks=[validation])
    harness.Evaluator(model, data, ["accuracy"], label="y").evaluate(output="runs/x", resume=True)
    return [results.numbers["accuracy"] for results in validation.results]


def misspelt(model: Any, data: Any) -> None:
    harness.evaluat(model, data, "accuracy")  # type: ignore[attr-defined]
    harness.evaluate(model, data, "accuracy", slice=["label"])  # type: ignore[call-arg]
    harness.evaluate(model, data, "accuracy", unknown_label="skp")  # type: ignore[arg-type]
    harness.compare("a", "b", curve=True)  # type: ignore[call-arg]
    harness.ExactValidation(data, "accuracy", batch_sise=32)  # type: ignore[call-arg]
    print(harness.evaluate(model, data, "accuracy").certificate.example)  # type: ignore[attr-defined]
