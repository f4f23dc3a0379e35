"""What a metric is called where people read it: short words, told by its name in the registry and its options. Pure.

The key under which a metric is reported stays what it is; a label is shown, and exporters make their names of its words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["label_words", "unique_labels"]

# What stands for the name; an option that is null is left out with the word before it.
FORMS = {
    "top_k": "top {k}",
    "f_beta": "f{beta}",
    "multilabel_f_beta": "multilabel f{beta}",
    "ndcg": "ndcg at {k}",
    "mean_reciprocal_rank": "mean reciprocal rank at {k}",
    "mean_average_precision": "mean average precision at {k}",
    "precision_at_k": "precision at {k}",
    "recall_at_k": "recall at {k}",
    "hit_rate": "hit rate at {k}",
    "retrieval_recall": "retrieval recall at {k}",
    "quantile": "quantile {q} of {of}",
    "pinball": "pinball {alpha}",
    "tweedie_deviance": "tweedie deviance {power}",
    "precision_at_recall": "precision at recall {recall}",
    "recall_at_precision": "recall at precision {precision}",
    "sensitivity_at_specificity": "sensitivity at specificity {specificity}",
    "specificity_at_sensitivity": "specificity at sensitivity {sensitivity}",
}
OPTION = re.compile(r"(?: at)? ?{(\w+)}")


def label_words(name: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a metric is called, and how it averages where it is one number of several classes.

    Args:
      name: in the registry, or module:Class of the user's own.
      options: of the metric; its option `name` is what the user calls it.

    >>> label_words("top_k", {"k": 3}), label_words("f_beta", {"beta": 1.0, "average": "macro"})
    (('top 3',), ('f1', 'macro'))
    >>> label_words("precision", {"average": "per_class"}), label_words("ndcg", {"k": None})
    (('precision',), ('ndcg',))
    >>> label_words("quantile", {"q": 0.5, "of": "absolute_error"}), label_words("costs:Cost", {"price": 2})
    (('quantile 0.5 of absolute error',), ('Cost',))
    """
    if options.get("name"):
        return (str(options["name"]),)
    if ":" in name:
        return (name.rpartition(":")[2],)

    def text(place: re.Match[str]) -> str:
        value = options.get(place[1])
        return "" if value is None else place[0].replace(f"{{{place[1]}}}", _plain(value))

    words = OPTION.sub(text, FORMS.get(name, name.replace("_", " ")))
    average = options.get("average")
    return (words, str(average)) if average and average != "per_class" else (words,)


def unique_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels by key; the key itself where a label is that of another metric too, or another's key.

    >>> unique_labels({"f_beta(output=a)": "f1", "f_beta(output=b)": "f1", "top_k": "top 3"})
    {'f_beta(output=a)': 'f_beta(output=a)', 'f_beta(output=b)': 'f_beta(output=b)', 'top_k': 'top 3'}
    """
    texts = list(labels.values())
    return {key: key if texts.count(label) > 1 or (label in labels and label != key) else label for key, label in labels.items()}


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).replace("_", " ")
