"""The job: keys, types, overrides, digest."""

import pytest
from pydantic import ValidationError

from harness.errors import JobError
from harness.job.job import Job
from harness.metrics import METRICS, load, make
from harness.names.metric_aliases import METRIC_ALIASES

GOOD = {"model": "m", "data": {"files": "a.tfrecord", "label": "y"}, "metrics": ["accuracy", {"top_k": {"k": 3}}]}


def job(**keys) -> Job:
    return Job.from_dict({**GOOD, **keys})


def test_short_forms():
    found = job()
    assert found.model.path == "m"
    assert found.model.signature == "serving_default"
    assert found.data.files == ("a.tfrecord",)
    assert found.data.format == "tfrecord"
    assert [(m.name, m.options) for m in found.metrics] == [("accuracy", {}), ("top_k", {"k": 3})]
    assert (found.batch_size, found.chunk_size) == (64, None)


def test_a_count_and_a_feature_alone_are_short_for_what_they_say():
    assert job(bootstrap=300) == job(bootstrap={"replicates": 300})
    assert job(slices="city") == job(slices=["city"])


def test_one_metric_and_files_alone_are_short_for_what_they_say():
    found = job(metrics="f1", data="x.npz")
    assert (
        found == job(metrics=["f_beta"], data={"files": "x.npz"}) and found.digest == job(metrics=["f_beta"], data="x.npz").digest
    )
    assert job(data=["a.npz", "b.npz"]).data.files == ("a.npz", "b.npz")


@pytest.mark.parametrize("alias", METRIC_ALIASES)
def test_short_names_of_metrics_are_those_of_metrics(alias):
    (spec,) = job(metrics=[{alias: {"name": "mine"}}]).metrics
    assert alias not in METRICS and spec.name in METRICS and spec.options == {"name": "mine"}
    assert list(make([spec])) == ["mine"] and load(alias) is load(spec.name)


def test_an_unknown_metric_is_answered_with_the_nearest_few():
    with pytest.raises(JobError) as caught:
        make(job(metrics=["mean_abs_error"]).metrics)
    assert str(caught.value).startswith("unknown metric 'mean_abs_error': did you mean 'mean_absolute_error'?")
    assert str(caught.value).endswith(f"'harness metrics' lists all {len(METRICS)}") and len(str(caught.value)) < 200


def test_a_job_does_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        job().batch_size = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    "files, wanted", [("x.npz", "npz"), (["a/*.tfrecord.gz", "b"], "tfrecord"), ("s3://b/x.tfrecords", "tfrecord")]
)
def test_format_comes_from_the_first_file(files, wanted):
    assert job(data={"files": files}).data.format == wanted


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"metric": []}, "job: unknown key 'metric': did you mean 'metrics'? valid: "),
        ({"data": {"files": "a.npz", "lable": "y"}}, "job: unknown key 'data.lable': did you mean 'label'? valid: "),
        ({"model": {"path": "m", "signatur": "x"}}, "job: unknown key 'model.signatur': did you mean 'signature'? valid: "),
        ({"data": {"files": "a.npz", "features": {"x": {"dtyp": "int64", "dtype": "int64"}}}},
         "job: unknown key 'data.features.x.dtyp': did you mean 'dtype'? valid: columns, dtype, "),
        ({"gate": {"rules": [], "basline": "old"}}, "job: unknown key 'gate.basline': did you mean 'baseline'? valid: "),
        ({"batch_size": 0}, "job: batch_size: Input should be greater than or equal to 1, found 0"),
        ({"batch_size": "many"}, "job: batch_size: Input should be a valid integer"),
        ({"metrics": []}, "job: metrics: expected at least one metric, found an empty list"),
        ({"metrics": [{"top_k": 3}]}, "job: metrics.0: the options of top_k must be keys and values, found 3"),
        ({"metrics": [["accuracy"]]}, "job: metrics.0: a metric is a name, or one name with its options, found ['accuracy']"),
        ({"data": {"files": []}}, "expected at least one file or glob, found an empty list"),
        ({"data": {"files": "a.dat"}}, "data.format is missing and cannot be told from 'a.dat'"),
        ({"data": {"files": "a.dat", "format": "csvv"}}, "job: data.format: Input should be"),
        ({"data": None}, "job: data: "),
        ({"slices": [["a"], []]}, "job: slices.by: expected features to slice by, found an empty list"),
        ({"bootstrap": "many"}, "job: bootstrap: expected keys with values, as in {replicates: ...}, found 'many'"),
        ({"data": {"files": "a.npz", "classes": [False, "maybe"]}},
         "job: data.classes: expected class names in quotes, as in ['no', 'yes'], found False (YAML takes no, yes, on and off"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(keys, message):
    with pytest.raises(JobError) as caught:
        job(**keys)
    assert message in str(caught.value)


@pytest.mark.parametrize("key", ["model", "data", "metrics"])
def test_what_is_missing_is_named(key):
    with pytest.raises(JobError, match=f"job: '{key}' is missing"):
        Job.from_dict({k: v for k, v in GOOD.items() if k != key})


def test_several_mistakes_are_all_named():
    with pytest.raises(JobError) as caught:
        job(batch_size=0, chunk_size=0, metrik=1)
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    "override, look, wanted",
    [
        ("batch_size=128", lambda j: j.batch_size, 128),
        ("model.path=other", lambda j: j.model.path, "other"),  # the short form was a text
        ("data.label=null", lambda j: j.data.label, None),
        ("data.unknown_label=null", lambda j: j.data.unknown_label, "null"),
        ("data.unknown_label=skip", lambda j: j.data.unknown_label, "skip"),
        ("metrics.1.top_k.k=2", lambda j: j.metrics[1].options, {"k": 2}),
        ("metrics.0=r2", lambda j: j.metrics[0].name, "r2"),
        ("metrics=[r2, mean]", lambda j: [m.name for m in j.metrics], ["r2", "mean"]),
        ("data.inputs.image=pixels=raw", lambda j: j.data.inputs, {"image": "pixels=raw"}),  # the first = divides
        ("data.classes=[a, b]", lambda j: j.data.classes, ("a", "b")),
    ],
)
def test_an_override_sets_one_key(override, look, wanted):
    assert look(Job.from_dict(GOOD, overrides=[override])) == wanted


@pytest.mark.parametrize(
    "override, message",
    [
        ("batch_size", "--set batch_size: expected key.path=value"),
        ("=3", "--set =3: expected key.path=value"),
        ("metrics.7.k=1", "--set metrics.7.k=1: the job has nothing at metrics.7.k that could be set"),
        ("metrics.first=r2", "--set metrics.first=r2: the job has nothing at"),
        ("data.label.x=1", "--set data.label.x=1: the job has nothing at"),
        ("batch_sise=1", "unknown key 'batch_sise': did you mean 'batch_size'?"),
        ("batch_size=[", "--set batch_size, line 1: not YAML: while parsing a flow node expected the node content"),
    ],
)
def test_an_override_that_fits_nowhere_is_refused(override, message):
    with pytest.raises(JobError) as caught:
        Job.from_dict(GOOD, overrides=[override])
    assert message in str(caught.value)


def test_overrides_leave_the_given_dictionaries_alone():
    Job.from_dict(GOOD, overrides=["data.label=z"])
    assert GOOD["data"]["label"] == "y"


def test_relative_paths_lie_beside_the_job_file(tmp_path):
    (tmp_path / "eval.yaml").write_text("model: m\ndata: {files: a.npz}\nmetrics: [mean]\n")
    found = Job.load(tmp_path / "eval.yaml")
    assert found.resolve("a.npz") == str(tmp_path / "a.npz")
    assert found.resolve("/b/a.npz") == "/b/a.npz"
    assert found.resolve("gs://b/a.npz") == "gs://b/a.npz"
    assert found.output_folder == tmp_path / "runs" / "eval"
    assert found.name == "eval"


@pytest.mark.parametrize(
    "content, message",
    [
        (b"model: [", "not YAML"),
        (b"\xff\xfe", "not YAML"),
        (b"- a\n- b\n", "expected keys and values, found list"),
        (b"", "expected keys and values, found NoneType"),
    ],
)
def test_a_file_that_is_no_job(tmp_path, content, message):
    (tmp_path / "j.yaml").write_bytes(content)
    with pytest.raises(JobError) as caught:
        Job.load(tmp_path / "j.yaml")
    assert message in str(caught.value) and str(tmp_path / "j.yaml") in str(caught.value)


def test_no_job_file(tmp_path):
    with pytest.raises(JobError, match=r"no\.yaml: no such job file"):
        Job.load(tmp_path / "no.yaml")
    with pytest.raises(JobError, match="cannot be read: Is a directory"):
        Job.load(tmp_path)


@pytest.mark.parametrize(
    "keys, same",
    [
        ({"output": "elsewhere"}, True),
        ({"model": "elsewhere/m"}, True),
        ({"data": {"files": "elsewhere/a.tfrecord", "label": "y"}}, True),
        ({"batch_size": 32}, False),
        ({"seed": 1}, False),
        ({"data": {"files": "a.tfrecord", "label": "z"}}, False),
        ({"model": {"path": "m", "jit_compile": True}}, False),
        ({"metrics": ["accuracy", {"top_k": {"k": 4}}]}, False),
    ],
)
def test_the_digest_covers_what_can_change_a_value(keys, same):
    assert (job(**keys).digest == job().digest) is same


def test_keys_that_came_later_leave_the_digest_of_older_jobs_alone():
    first = {"model": "m", "data": {"files": "a.npz"}, "metrics": ["accuracy"]}
    wanted = (
        "d2908079dedbc882933d560776998f00fb2a95bff9bbcc9d29d53546650e391a"  # as it was before there were predictions and models
    )
    assert Job.from_dict(first).digest == wanted
    more = {"model": {"path": "n", "version": 3, "node_copy": "always"}, "predictions": {"features": ["x"]}, "schedule": "static"}
    assert Job.from_dict({**first, **more}).digest == wanted
    assert Job.from_dict({**first, "eager": True}).digest != wanted
    models = {"data": first["data"], "metrics": first["metrics"], "models": {"a": "m", "b": "n"}}
    assert Job.from_dict(models).digest == Job.from_dict({**models, "models": {"a": "x", "b": "y"}}).digest != wanted
