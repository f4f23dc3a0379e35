"""What a metric of two models is compared with."""

import pytest

from harness.data import Feature
from harness.errors import JobError
from harness.job.job import Job
from harness.prepare.binding import bind, make_metrics

SCORES, AMOUNT = Feature("float32", (5,)), Feature("float32", (1,))
FEATURES = {"y": Feature("int64", ())}


def job(*metrics, **keys) -> Job:
    data = {"files": ["x.npz"], "label": "y"}
    return Job.model_validate({"models": {"old": "a", "new": "b", "tiny": "c"}, "data": data, "metrics": list(metrics), **keys})


def test_all_models_but_the_baseline_have_the_metric():
    metrics = make_metrics(job("accuracy", "mcnemar", {"flip_rate": {"baseline": "new"}}))
    assert list(metrics) == [
        "old/accuracy", "old/flip_rate", "new/accuracy", "new/mcnemar", "tiny/accuracy", "tiny/mcnemar", "tiny/flip_rate"
    ]  # fmt: skip
    assert list(make_metrics(job({"mcnemar": {"output": "tiny/p"}}))) == ["tiny/mcnemar"]


@pytest.mark.parametrize(
    ("options", "baseline"),
    [
        ({}, "old/scores"),  # the only output that a class label can read beside the amount
        ({"baseline": "old/other"}, "old/other"),
        ({"output": "other"}, "old/other"),
        ({"output": "new/scores", "baseline": "old"}, "old/scores"),
    ],
)
def test_its_output_is_found_as_that_of_any_metric(options, baseline):
    several = job("accuracy", {"mcnemar": options}, {"mean_absolute_error": {"label": "z", "name": "mae"}})
    metrics = {key: metric for key, metric in make_metrics(several).items() if not key.startswith("tiny/")}
    names = ("scores", "amount", "other") if "other" in baseline else ("scores", "amount")
    if "other" in baseline:  # else accuracy could not choose
        metrics = {key: metric for key, metric in metrics.items() if key == "new/mcnemar"}
        metrics = {key: metric.model_copy(update={"output": metric.output or "new/scores"}) for key, metric in metrics.items()}
    outputs = {f"{model}/{name}": AMOUNT if name == "amount" else SCORES for model in ("old", "new") for name in names}
    bindings = bind(several, metrics, outputs, {**FEATURES, "z": Feature("float32", ())})
    assert list(bindings) == list(metrics)
    assert bindings["new/mcnemar"].baseline == baseline


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (job({"mcnemar": {"baseline": "odl"}}), r"metric mcnemar: baseline: there is no model 'odl': .*did you mean 'old'"),
        (job({"mcnemar": {"output": "new/p", "baseline": "new"}}), "metric mcnemar: compares new with itself"),
        (job("mcnemar", models={"old": "a"}), "metric mcnemar: compares old with itself"),
        (job("mcnemar", models={}, model="a"), "metric mcnemar: compares two models, and the job has one: name several under"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(wrong, message):
    with pytest.raises(JobError, match=message):
        make_metrics(wrong)


def test_weights_and_replicates_are_refused_by_name_where_examples_are_counted():
    outputs = {"old/p": SCORES, "new/p": SCORES}
    weighed = job("mcnemar", models={"old": "a", "new": "b"}, data={"files": ["x.npz"], "label": "y", "weight": "w"})
    with pytest.raises(JobError, match="metric new/mcnemar: takes no weights, and the job has weight 'w'; set weight: false"):
        bind(weighed, make_metrics(weighed), outputs, FEATURES)
    drawn = job({"mcnemar": {"bootstrap": True}}, models={"old": "a", "new": "b"}, bootstrap={"replicates": 5})
    with pytest.raises(JobError, match="metric new/mcnemar: takes no replicates"):
        bind(drawn, make_metrics(drawn), outputs, FEATURES)
    quiet = job("mcnemar", models={"old": "a", "new": "b"}, bootstrap={"replicates": 5})
    assert bind(quiet, make_metrics(quiet), outputs, FEATURES)["new/mcnemar"].baseline == "old/p"


def test_an_output_that_is_not_there_is_named():
    several = job({"mcnemar": {"baseline": "old/q"}}, models={"old": "a", "new": "b"})
    with pytest.raises(JobError, match="metric new/mcnemar: baseline: the model has no output 'old/q': it has old/p"):
        bind(several, make_metrics(several), {"old/p": SCORES, "new/p": SCORES}, FEATURES)


def test_a_label_that_is_missing_is_asked_for_once():
    several = job("mcnemar", models={"old": "a", "new": "b"}, data={"files": ["x.npz"]})
    with pytest.raises(JobError, match="metric new/mcnemar: needs a label"):
        bind(several, make_metrics(several), {"old/p": SCORES, "new/p": SCORES}, {})
