"""Metrics of one class of several, where the job does not say of which: the number is not that of all classes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.data import Feature
from harness.metrics.contract import Inputs
from harness.metrics.predicted_class import PredictedClassMetric
from harness.metrics.question import Question

__all__ = ["of_one_class"]

INSTEAD = {"log_loss": "cross_entropy", "roc_auc": "one_vs_rest_roc_auc", "gini": "one_vs_rest_roc_auc"}


def of_one_class(question: Question, outputs: Mapping[str, Feature | None]) -> list[str]:
    """Name the metrics that hold one class against all others, of an output that scores three or more, without being told to.

    Args:
      outputs: what is known of each output of the model, the batch left away.
    Returns: a sentence for each class and output that such metrics are of; none where they all say `positive`.
    """
    groups: dict[tuple[int, int, str], list[str]] = {}
    for key, metric in question.metrics.items():
        binding = question.bindings[key]
        output = outputs.get(binding.output)
        if binding.inputs not in (Inputs.BINARY, Inputs.CLASSES) or output is None or isinstance(metric, PredictedClassMetric):
            continue
        positive, scores = getattr(metric, "positive", None), output.shape[-1] if output.shape else None
        if positive is not None and "positive" not in metric.model_fields_set and scores is not None and scores > 2:
            groups.setdefault((positive, scores, binding.output), []).append(key)
    return [_sentence(keys, *group, question.classes) for group, keys in groups.items()]


def _sentence(keys: Sequence[str], positive: int, scores: int, output: str, classes: Sequence[str] | None) -> str:
    """Say of which class metrics are.

    >>> _sentence(["brier"], 1, 3, "p", ["cat", "dog", "owl"])
    "brier: of class 1 (dog) against all others, of the 3 that 'p' scores; positive: NUMBER says which"
    >>> _sentence(["a/roc_auc", "a/log_loss(epsilon=0.1)"], 1, 3, "p", None).partition("which; ")[2]
    'one_vs_rest_roc_auc and cross_entropy are of all classes'
    """
    name = f" ({classes[positive]})" if classes is not None and len(classes) == scores else ""
    others = dict.fromkeys(INSTEAD[bare] for key in keys if (bare := key.rpartition("/")[2].partition("(")[0]) in INSTEAD)
    instead = f"; {' and '.join(others)} {'is' if len(others) == 1 else 'are'} of all classes" if others else ""
    return (
        f"{', '.join(keys)}: of class {positive}{name} against all others, of the {scores:,} that '{output}' scores; "
        f"positive: NUMBER says which{instead}"
    )
