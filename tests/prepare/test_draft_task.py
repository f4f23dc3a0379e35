"""What a label and an output are together, and the metrics of that."""

from pathlib import Path

import numpy as np
import pytest

from harness.data import Feature
from harness.errors import JobError
from harness.job.specs import MetricSpec
from harness.metrics import make
from harness.prepare.draft_metrics import CHOICES, FURTHER, RANKING, Entry, choose_metrics, completed, find_query, parse_metrics
from harness.prepare.draft_task import Scale, Task, TaskKind, choose_task, task_of

C, B, M, N = TaskKind.CLASSES, TaskKind.BINARY, TaskKind.MULTILABEL, TaskKind.NUMBERS
SOFT = np.array([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]], np.float32)
LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, -7.0]], np.float32)
LOOSE = np.array([[0.9, 0.8, 0.1], [0.2, 0.2, 0.3]], np.float32)
TEXT = np.array([b"cat", b"dog"], object)
ONE_HOT, TAGS = np.array([[1, 0, 0], [0, 0, 1]]), np.array([[1, 1, 0], [0, 0, 0]])


@pytest.mark.parametrize(
    "label, scores, kind, scale, one_hot",
    [
        (np.array([0, 2]), SOFT, C, Scale.PROBABILITIES, False),
        (np.array([[0], [2]]), LOGITS, C, Scale.LOGITS, False),
        (np.array([0.0, 2.0], np.float32), LOOSE, C, Scale.SCORES, False),
        (TEXT, SOFT, C, Scale.PROBABILITIES, False),
        (ONE_HOT, SOFT, C, Scale.PROBABILITIES, True),
        (ONE_HOT, LOGITS, C, Scale.LOGITS, True),
        (ONE_HOT, LOOSE, M, Scale.PROBABILITIES, False),  # scores that do not exclude each other
        (TAGS, LOGITS, M, Scale.LOGITS, False),
        (np.array([0, 1]), np.array([[0.1], [0.9]]), B, Scale.PROBABILITIES, False),
        (np.array([True, False]), np.array([-3.0, 4.0]), B, Scale.LOGITS, False),
        (np.array([0, 2]), np.array([[0.1], [7.0]]), N, Scale.NONE, False),
        (np.array([0.5, 2.0]), np.array([0.1, 7.0]), N, Scale.NONE, False),
        (np.array([[0.5, 0.2, 0.1], [1, 2, 3]]), LOGITS, N, Scale.NONE, False),
        (np.array([0, 1]), np.array([[np.nan], [0.9]]), B, Scale.PROBABILITIES, False),
    ],
)
def test_shapes_and_values_tell_the_task(label, scores, kind, scale, one_hot):
    task = task_of("out", label, scores)
    assert task is not None
    assert (task.kind, task.scale, task.one_hot) == (kind, scale, one_hot)


@pytest.mark.parametrize(
    "label, scores",
    [
        (np.array([0, 3]), SOFT),  # there are three classes
        (np.array([-1, 2]), SOFT),
        (np.array([0.5, 1.5]), SOFT),
        (np.zeros([2, 4], int), SOFT),
        (np.array([0, 1]), np.array([b"a", b"b"], object)),
        (TEXT, np.zeros([2, 4, 4])),
    ],
)
def test_what_does_not_go_together_is_no_task(label, scores):
    assert task_of("out", label, scores) is None
    with pytest.raises(JobError, match="no metric is known for a label"):
        choose_task(label, {"out": scores})


def test_pixels_are_positions():
    task = task_of("out", np.zeros([2, 4, 4], np.uint8), np.full([2, 4, 4, 3], 1 / 3))
    assert task == Task(C, Scale.PROBABILITIES, "out", 3, position_dims=2)
    assert [entry.name for entry in choose_metrics(task)] == ["pixel_accuracy", "mean_iou"]


def test_scores_of_classes_and_probabilities_are_preferred_and_nothing_else():
    heads = {"amount": np.array([[4.0], [5.0]]), "logits": LOGITS, "probabilities": SOFT}
    label = np.array([0, 2])
    assert choose_task(label, heads).output == "probabilities"
    assert choose_task(label, heads, "logits").output == "logits"
    assert choose_task(np.array([0.5, 2.0]), heads).output == "amount"
    with pytest.raises(JobError, match="the model has no output 'logit': did you mean 'logits'"):
        choose_task(label, heads, "logit")
    with pytest.raises(JobError, match="say --model-output, one of a, b; the model has a .3., b .3."):
        choose_task(label, {"a": SOFT, "b": SOFT})


def specs(entries):
    return [MetricSpec(name=entry.name, options=dict(entry.options)) for entry in entries]


def test_every_metric_that_is_chosen_or_named_exists():
    names = [name for text in FURTHER.values() for name in text.split(", ")]
    assert len(make(specs(Entry(name) for name in dict.fromkeys(names)))) == len(set(names))
    for kind, entries in CHOICES.items():
        for scale in Scale:
            task = Task(kind, scale, "out", 3, one_hot=kind is C)
            assert make(specs(completed(entries, task, "out", None, Path("."))))
    assert make(specs(completed(RANKING, None, None, "qid", Path("."))))


@pytest.mark.parametrize(
    "task, names",
    [
        (Task(C, Scale.PROBABILITIES, "p", 3), ["accuracy", "f1", "cross_entropy"]),
        (Task(C, Scale.SCORES, "p", 3), ["accuracy", "f1"]),  # no probabilities, no cross entropy
        (Task(C, Scale.LOGITS, "p", 11), ["accuracy", "f1", "cross_entropy", "top_k"]),
        (Task(C, Scale.LOGITS, "p", 2), ["accuracy", "f1", "cross_entropy", "auc"]),
        (Task(N, Scale.NONE, "p"), ["mae", "rmse", "r2"]),
    ],
)
def test_a_task_is_judged_by(task, names):
    assert [entry.name for entry in choose_metrics(task)] == names


def test_options_follow_from_label_and_output_and_the_users_word_stands():
    entries = parse_metrics("accuracy,cross_entropy,{auc: {from_logits: false}},ndcg,{python: a:B}")
    task = Task(C, Scale.LOGITS, "p", 3, one_hot=True)
    options = [entry.options for entry in completed(entries, task, "p", "qid", Path("."))]
    assert options == [
        {"output": "p", "one_hot": True},  # the highest of several logits is the highest probability
        {"output": "p", "from_logits": True, "one_hot": True},
        {"output": "p", "from_logits": False, "one_hot": True},
        {"output": "p", "query": "qid"},
        {"output": "p", "metric": "a:B"},
    ]
    own_label = [Entry("mae", {"label": "age"})]
    assert completed(own_label, task, "p", None, Path(".")) == own_label  # it may go with another output
    (entry,) = completed([Entry("accuracy")], Task(B, Scale.LOGITS, "p", 2), None, None, Path("."))
    assert entry.options == {"from_logits": True}
    with pytest.raises(JobError, match="unknown metric 'acuracy': did you mean 'accuracy'"):
        completed([Entry("acuracy")], task, None, None, Path("."))


@pytest.mark.parametrize("text", ["", "accuracy,[1]", "{a: 1}", "{a: {}, b: {}}", "3"])
def test_what_is_no_list_of_metrics_is_said(text):
    with pytest.raises(JobError, match="--metrics: expected"):
        parse_metrics(text)


def test_a_ranking_has_queries_that_come_again_and_grades():
    features = {"x": Feature("float32", (3,)), "qid": Feature("int64", ())}
    grades, task = np.array([0, 2, 1, 0]), Task(N, Scale.NONE, "p")
    again, never = {"qid": np.array([7, 7, 8, 8])}, {"qid": np.arange(4)}
    assert find_query(features, again, task, grades) == "qid"
    assert find_query(features, never, task, grades) is None
    assert find_query(features, again, task, np.array([-1.5, 2, 0, 1])) is None
    assert find_query(features, again, Task(C, Scale.LOGITS, "p", 3), grades) is None
    assert find_query(features, {}, task, grades) is None


@pytest.mark.parametrize(
    "label, scores, message",
    [
        (
            [1, 3],
            SOFT,
            'expected numbers of classes from 0 to 2, found labels from 1 to 3: --label "NAME - 1" counts them from 0',
        ),
        ([-1, 1], SOFT, 'expected numbers of classes from 0 to 2, found labels -1 and 1: --label "NAME > 0" makes them 0 and 1'),
        ([0, 9], SOFT, "expected numbers of classes from 0 to 2, found labels from 0 to 9; choose another with --label"),
        (
            [-1, 1],
            [[0.1], [0.9]],
            'a probability, and the labels are -1 and 1: expected 0 and 1; --label "NAME > -1" makes them that',
        ),
        ([1, 2], [0.1, 0.9], 'a probability, and the labels are 1 and 2: expected 0 and 1; --label "NAME > 1" makes them that'),
    ],
)
def test_classes_that_are_numbered_otherwise_are_told_how_to_be_read(label, scores, message):
    with pytest.raises(JobError) as caught:
        choose_task(np.array(label), {"out": np.array(scores)})
    assert message in str(caught.value)
