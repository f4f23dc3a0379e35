"""What kind of task a label and an output are: by their shapes, and by the values of the first examples. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from harness.errors import JobError, nearest

__all__ = ["Scale", "Task", "TaskKind", "choose_task", "task_of"]

PAIRS = ((-1, 1), (1, 2))  # numbers of two classes, elsewhere
SUM_TOLERANCE = 0.05  # of probabilities in half precision
RANGE_TOLERANCE = 1e-2


class TaskKind(enum.Enum):
    """What is predicted."""

    CLASSES = "a class out of several"
    BINARY = "yes or no"
    MULTILABEL = "several labels of 0 and 1"
    NUMBERS = "numbers"


class Scale(enum.Enum):
    """What the scores of an output are."""

    PROBABILITIES = "probabilities"
    LOGITS = "logits"
    SCORES = "scores in [0, 1] that do not sum to 1"
    NONE = "numbers"


@dataclass(frozen=True)
class Task:
    """A label and an output that go together.

    Attributes:
      output: its name.
      classes: how many scores a position has; 2 of a yes or no.
      one_hot: whether the label is a row with a 1 for its class.
      position_dims: dimensions of an example's positions: 2 of an image's pixels, 0 where the example is the position.
    """

    kind: TaskKind
    scale: Scale
    output: str
    classes: int = 0
    one_hot: bool = False
    position_dims: int = 0


def choose_task(label: np.ndarray, outputs: Mapping[str, np.ndarray], wanted: str | None = None) -> Task:
    """Choose the output that goes with the label.

    Scores of classes are preferred to numbers, probabilities to logits: who has both wants the first.

    Args:
      label: [n, ...], of the first examples; text as objects.
      outputs: predictions of them, [n, ...] by name.
      wanted: the output that the user named.
    Raises: JobError: there is no such output; none goes with the label, or several do.
    """
    if wanted is not None and wanted not in outputs:
        raise JobError(f"--model-output: the model has no output '{wanted}': {nearest(wanted, outputs)}")
    tasks = {name: task_of(name, label, array) for name, array in outputs.items() if wanted in (None, name)}
    candidates = [task for task in tasks.values() if task]
    for preferred in (TaskKind.CLASSES, Scale.PROBABILITIES):
        some = [task for task in candidates if preferred in (task.kind, task.scale)]
        candidates = some if len(candidates) > 1 and some else candidates
    if len(candidates) == 1:
        return candidates[0]
    shown = ", ".join(f"{name} {_shape(array)}" for name, array in outputs.items())
    if candidates:
        names = ", ".join(task.output for task in candidates)
        raise JobError(f"several outputs go with the label: say --model-output, one of {names}; the model has {shown}")
    raise JobError(
        f"no metric is known for a label {_shape(label)} of {label.dtype} and the output {shown}: "
        f"{_other_numbers(label, outputs.values())}choose another with --label, or write the job yourself (docs/job.md)"
    )


def _other_numbers(label: np.ndarray, outputs: Iterable[np.ndarray]) -> str:
    """Say what to do with class labels that are numbered otherwise; nothing where they are none.

    >>> _other_numbers(np.array([1, 3]), [np.zeros((2, 3))])
    'expected numbers of classes from 0 to 2, found labels from 1 to 3: --label "NAME - 1" counts them from 0; else '
    >>> _other_numbers(np.array([1, -1]), [np.zeros((2, 2))])
    'expected numbers of classes from 0 to 1, found labels -1 and 1: --label "NAME > 0" makes them 0 and 1; else '
    """
    label = _squeezed(label)
    classes = next((scores.shape[-1] for scores in outputs if scores.shape[:-1] == label.shape and scores.shape[-1] > 1), 0)
    if not classes or label.dtype.kind not in "iuf" or not (label == np.floor(label)).all():
        return ""
    low, high = int(label.min()), int(label.max())
    expected = f"expected numbers of classes from 0 to {classes - 1}, found labels"
    if set(np.unique(label).tolist()) == {-1, 1}:
        return f'{expected} -1 and 1: --label "NAME > 0" makes them 0 and 1; else '
    if low >= 1 and high <= classes:
        return f'{expected} from {low} to {high}: --label "NAME - 1" counts them from 0; else '
    return f"{expected} from {low} to {high}; "


def task_of(output: str, label: np.ndarray, scores: np.ndarray) -> Task | None:
    """Return what a label and an output are together; None where they do not go together.

    >>> task_of("p", np.array([0, 2]), np.array([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]))
    Task(kind=<TaskKind.CLASSES: 'a class out of several'>, scale=<Scale.PROBABILITIES: 'probabilities'>, output='p', \
classes=3, one_hot=False, position_dims=0)
    >>> task_of("p", np.array([0.5, 2.0]), np.array([[0.1], [7.0]])).kind
    <TaskKind.NUMBERS: 'numbers'>
    """
    if scores.dtype.kind not in "fiub":
        return None
    label, scores = _squeezed(label), scores.astype(np.float64)
    if scores.ndim > 1 and scores.shape[-1] == 1:
        scores = scores[..., 0]
    if label.shape == scores.shape[:-1] and scores.ndim > 1:
        return _classes(output, label, scores)
    if label.shape != scores.shape or label.dtype.kind == "O":
        return Task(TaskKind.BINARY, _scale(scores[..., None]), output, 2) if label.shape == scores.shape else None
    if not np.isin(label, (0, 1)).all():
        if _scale(scores[..., None]) is Scale.PROBABILITIES and (pair := _pair(label)):
            low, high = pair
            raise JobError(
                f"output '{output}' is a probability, and the labels are {low} and {high}: expected 0 and 1; "
                f'--label "NAME > {low}" makes them that'
            )
        return Task(TaskKind.NUMBERS, Scale.NONE, output)
    if label.ndim == 1:
        return Task(TaskKind.BINARY, _scale(scores[..., None]), output, 2)
    if (label.sum(axis=-1) == 1).all() and _scale(scores) is not Scale.SCORES:
        return Task(TaskKind.CLASSES, _scale(scores), output, scores.shape[-1], one_hot=True, position_dims=label.ndim - 2)
    return Task(TaskKind.MULTILABEL, _scale(scores[..., None]), output, scores.shape[-1])


def _pair(label: np.ndarray) -> tuple[int, int] | None:
    """Return the two numbers by which others than us number two classes; None where the labels are no such numbers."""
    values = tuple(np.unique(label).tolist()) if label.ndim == 1 else ()
    return next((pair for pair in PAIRS if values == pair), None)


def _classes(output: str, label: np.ndarray, scores: np.ndarray) -> Task | None:
    """Return the task of a score a class, None where a label is none of them."""
    classes = scores.shape[-1]
    if label.dtype.kind != "O" and not (label == np.floor(label)).all():
        return None
    if label.dtype.kind != "O" and not ((label >= 0) & (label < classes)).all():
        return None
    return Task(TaskKind.CLASSES, _scale(scores), output, classes, position_dims=label.ndim - 1)


def _scale(scores: np.ndarray) -> Scale:
    """Return what scores [..., C] are; one alone is a probability where it is in [0, 1]."""
    finite = scores[np.isfinite(scores).all(axis=-1)]
    if ((finite < -RANGE_TOLERANCE) | (finite > 1 + RANGE_TOLERANCE)).any():
        return Scale.LOGITS
    if scores.shape[-1] > 1 and (np.abs(finite.sum(axis=-1) - 1) > SUM_TOLERANCE).any():
        return Scale.SCORES
    return Scale.PROBABILITIES


def _squeezed(label: np.ndarray) -> np.ndarray:
    """Return a label without a last dimension of 1; bool as integers."""
    if label.ndim > 1 and label.shape[-1] == 1:
        label = label[..., 0]
    return label.astype(np.int64) if label.dtype.kind == "b" else label


def _shape(array: np.ndarray) -> str:
    return f"[{', '.join(map(str, array.shape[1:]))}]"
