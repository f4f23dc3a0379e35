"""What a metric reads: which output, label and weight, and in what form. Part of the contract; see `contract.py`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Binding", "Inputs", "ScoreScale"]


class Inputs(Enum):
    """What a metric reads, and so what makes a position invalid."""

    CLASSES = "labels int32 [N] in [0, C), predictions [N, C]; where the binding has classes, int32 [N] in [0, C)"
    BINARY = "labels int32 [N], 1 where positive else 0; predictions float64 [N], the score of the positive class"
    MULTILABEL = "labels int32 [N, L], each 0 or 1; predictions [N, L]"
    NUMBERS = "labels float64 [N], predictions float64 [N]"
    MULTIOUTPUT = "labels float64 [N, K], predictions float64 [N, K]: K numbers of each position"
    OUTPUT = "no labels, predictions float64 [N]; NaN and infinite ones are invalid"
    RAW = "labels and predictions as they are, [B, ...], of any dtype; one position an example, all valid"


class ScoreScale(Enum):
    """What range a metric expects scores in; a position where they are not in it is counted apart, the value is null."""

    ANY = "any numbers: they are only compared with each other, or with a number of their own scale"
    DECISION = "any numbers; but one score a position is that of class 1 of two, p against 1 - p, and so in [0, 1]"
    PROBABILITY = "in [0, 1]; where there is one for each of several classes that exclude each other, they sum to 1"


@dataclass(frozen=True)
class Binding:
    """Which output, label and weight a metric reads, by name; metrics with the same binding share their positions."""

    inputs: Inputs
    output: str
    label: str | None = None
    weight: str | None = None
    ignore_label: int | None = None
    from_logits: bool = False
    positive: int = 1  # the positive class, of BINARY inputs
    classes: int | None = None  # an integer output is the predicted class, one of so many
    one_hot: bool = False  # a class label is a row [..., C] with a 1 for its class
    also: tuple[tuple[str, str], ...] = ()  # further features that `terms` reads, by the option that names them
    outputs: tuple[tuple[str, str], ...] = ()  # further outputs that `terms` reads, likewise
    scale: ScoreScale = ScoreScale.ANY  # what the scores have to be, as they are read
    baseline: str | None = None  # a second output, read as the first is: positions count where both are valid

    @property
    def outputs_read(self) -> tuple[str, ...]:
        """All outputs that are read: the metric's own first."""
        second = () if self.baseline is None else (self.baseline,)
        return (self.output, *second, *(output for _, output in self.outputs))
