"""One kept example as it is shown: a line of examples.parquet as texts that are cut where they are long. Reads no file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.report.drawing import clipped
from harness.results.tables import NULL, number

__all__ = ["LONGEST_NAME", "LONGEST_TEXT", "MOST_FEATURES", "KeptExample", "LineReader", "shown_value"]

TOP_SCORES, SCORE_DIGITS, MOST_NUMBERS, MOST_FEATURES = 3, 3, 5, 12  # of an example
LONGEST_NAME, LONGEST_TEXT = 60, 300  # letters


@dataclass(frozen=True)
class KeptExample:
    """One example, its texts as they are shown.

    Attributes:
      label, prediction, loss, confidence: empty where the run has none.
      wrong: whether the prediction is another than the label, of classes.
      scores: the highest of the model's scores, each with its class.
      features: by name.
      file, record: where it lies.
      text: what the model saw.
      picture: what the model saw, a PNG in base64; empty where there is none.
    """

    id: str
    label: str
    prediction: str
    wrong: bool
    loss: str
    confidence: str
    scores: Sequence[tuple[str, str]]
    features: Sequence[tuple[str, str]]
    file: str
    record: str
    text: str
    picture: str


@dataclass(frozen=True)
class LineReader:
    """Reads lines of examples.parquet.

    Attributes:
      classes: their names, where there are any.
      classed: whether label and prediction are classes.
    """

    classes: Sequence[str]
    classed: bool

    def example(self, line: Mapping[str, Any], picture: str) -> KeptExample:
        """Return the example of a line.

        Args:
          line: values by the name of their column.
          picture: what is shown of it, a PNG in base64.
        """
        values = {str(name): value for name, value in line.items()}
        label, prediction = (shown_value(values[name]) if name in values else "" for name in ("label", "prediction"))
        features = [(name.partition(":")[2], value) for name, value in values.items() if name.startswith("feature:")]
        return KeptExample(
            str(values["id"]),
            clipped(label, LONGEST_NAME),
            clipped(prediction, LONGEST_NAME),
            self.classed and label != prediction,
            shown_value(values["loss"], "NaN"),
            "" if values.get("confidence") is None else _score(values["confidence"]),
            _highest(values.get("scores"), self.classes),
            [(clipped(name, LONGEST_NAME), _feature(value)) for name, value in features[:MOST_FEATURES]],
            clipped(values["file"], 2 * LONGEST_NAME),
            str(values["record"]),
            clipped(shown_value(values["text"], ""), LONGEST_TEXT) if "text" in values else "",
            picture,
        )


def _highest(scores: Any, classes: Sequence[str]) -> list[tuple[str, str]]:
    """Return the highest scores with the names of their classes, or their numbers; a single one has no name."""
    if scores is None or not len(scores):
        return []
    if len(scores) == 1:
        return [("", _score(scores[0]))]
    names = classes if len(classes) == len(scores) else range(len(scores))
    order = np.argsort(-np.asarray(scores), kind="stable")[:TOP_SCORES].tolist()
    return [(clipped(names[at], LONGEST_NAME), _score(scores[at])) for at in order]


def _score(score: float) -> str:
    return NULL if score != score else f"{score:.{SCORE_DIGITS}g}"


def _feature(value: Any) -> str:
    """Return a feature as it is shown; of many numbers the first."""
    if isinstance(value, np.ndarray | list):
        parts = [_feature(part) for part in value[:MOST_NUMBERS]]
        return ", ".join([*parts, *(["…"] if len(value) > MOST_NUMBERS else [])])
    return clipped(shown_value(value), LONGEST_NAME)


def shown_value(value: Any, none: str = NULL) -> str:
    """Return a value as text. A column of integers that lacks one comes as numbers with a point, and loses it here.

    >>> shown_value(3), shown_value(3.0), shown_value(0.25), shown_value("four"), shown_value(float("nan"))
    ('3', '3', '0.25', 'four', 'null')
    """
    if value is None or value != value:
        return none
    if isinstance(value, float | np.floating):
        return number(float(value))
    return str(value)
