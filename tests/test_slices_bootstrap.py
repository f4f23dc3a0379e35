"""Slices, weights and replicates through whole runs, against pandas and scikit-learn; and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics as sk

from harness.exact.draws import multiplicities
from tests import made
from tests.comparison.documents import judged, read_by_comparisons
from tests.conftest import ROOT, over_ranks, start

REPLICATES, SEED, BATCH = 40, 17, 16
P, L, A = {"output": "probabilities"}, {"output": "logits", "from_logits": True}, {"output": "amount", "label": "target"}
W = {"weight": "weight"}
METRICS = [
    {"accuracy": {**P, "name": "accuracy"}},
    {"accuracy": {**P, **W, "name": "weighted_accuracy"}},
    {"cross_entropy": L},
    {"recall": {**P, **W, "average": "micro", "name": "weighted_recall"}},
    {"r2": {**A, "name": "r2"}},
    {"r2": {**A, **W, "name": "weighted_r2"}},
    {"roc_auc": {**P, "name": "roc_auc"}},
    {"roc_auc": {**P, **W, "name": "weighted_roc_auc"}},
    {"spearman": A},
]
RANKED = [
    {"recall_at_k": {**A, "label": "label", "query": "user", "k": 3}},
    {"hit_rate": {**A, "label": "label", "query": "user", "k": 3, "relevant_above": 2}},
    {"hit_rate": {**A, "label": "label", "query": "user", "k": 2, "relevant_above": 9, "name": "no_hit"}},
    {"ndcg": {**A, "label": "label", "query": "user", "gain": "linear"}},
]
BOUNDS = [30, 50]
SLICES = {
    "by": [["writer"], ["digit"], ["writer", "digit"], [{"feature": "age", "buckets": BOUNDS}]],
    "minimum": 8,
    "maximum": 60,
}


def columns() -> dict[str, np.ndarray]:
    """The examples of the tests, with features to slice by: uneven, negative, not ASCII, not a number."""
    random = np.random.default_rng(5)
    count = made.EXAMPLES
    age = random.uniform(10, 80, count).astype(np.float32)
    age[::17], age[3], age[4] = np.nan, 30.0, 50.0  # NaN; and values on the bounds, which belong above
    return {
        **made.examples().columns(),
        "writer": np.array([name.encode() for name in random.choice(["anna", "bo b", "žofie", ""], count, p=[0.5, 0.3, 0.15, 0.05])]),
        "digit": random.choice([-1, 0, 3_000_000_000], count, p=[0.2, 0.5, 0.3]),
        "age": age,
        "user": (user := random.integers(0, 40, count)),
        "team": user // 3,
        "name": np.array([f"u{number}".encode() for number in random.integers(0, 40, count)]),
    }  # fmt: skip


KEPT = {"worst": 5, "per": "slice", "also": "random"}  # metrics.json has the SHA-256 of those that are kept


@pytest.fixture(scope="module")
def jobs(world, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("jobs")
    np.savez(folder / "sliced.npz", **columns())
    common: dict[str, Any] = {
        "model": str(world.folder / "heads"), "batch_size": BATCH, "chunk_size": 32,
        "data": {"files": [str(folder / "sliced.npz")], "inputs": {"x": "x"}},
    }  # fmt: skip
    draws = {"replicates": REPLICATES, "seed": SEED}
    return {
        "all": world.job(folder / "all.yaml", **common, metrics=METRICS, slices=SLICES, bootstrap=draws, examples=KEPT),
        "users": world.job(folder / "users.yaml", **common, metrics=METRICS[:1], bootstrap={**draws, "cluster": "user"}),
        "ranked": world.job(folder / "ranked.yaml", **common, metrics=RANKED, bootstrap=draws, slices=[["writer"]]),
        "teams": world.job(folder / "teams.yaml", **common, metrics=RANKED, bootstrap={**draws, "cluster": "team"}),
        "torn": world.job(folder / "torn.yaml", **common, metrics=RANKED[:1] + METRICS[:1], bootstrap={**draws, "cluster": "writer"}),
        "names": world.job(folder / "names.yaml", **common, metrics=METRICS[:1] + METRICS[6:7], bootstrap={**draws, "cluster": "name"}),
    }  # fmt: skip


@pytest.fixture(scope="module")
def alone(jobs, tmp_path_factory) -> dict[str, Path]:
    """The run folders of one process."""
    folder = tmp_path_factory.mktemp("alone")
    done = start([sys.executable, "-m", "tests.ranks.many", *(f"{job}={folder / name}" for name, job in jobs.items())], ROOT)
    assert done.code == 0, done.text
    return {name: folder / name for name in jobs}


def test_sums_compiled_with_xla_are_the_same(jobs, alone, harness, tmp_path):
    """A run of millions of examples compiles them, these runs do not."""
    assert harness("evaluate", jobs["all"], "-o", tmp_path / "run", environ={"XLA_POSITIONS": "0"}).code == 0
    assert (tmp_path / "run/metrics.json").read_bytes() == (alone["all"] / "metrics.json").read_bytes()


@pytest.fixture(scope="module")
def table(world) -> pd.DataFrame:
    """What the metrics read: the examples, and the model's outputs in batches of the run's size."""
    import tensorflow as tf

    given = columns()
    serve = tf.saved_model.load(str(world.folder / "heads")).signatures["serving_default"]
    parts = []
    for at in range(0, made.EXAMPLES, BATCH):
        x = given["x"][at : at + BATCH]
        padded = np.concatenate([x, np.repeat(x[:1], BATCH - len(x), axis=0)])
        parts.append({name: tensor.numpy()[: len(x)].astype(np.float64) for name, tensor in serve(x=tf.constant(padded)).items()})
    outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    p, logits, y = outputs["probabilities"], outputs["logits"], given["label"]
    top = logits.max(axis=1)
    bucket = np.where(np.isnan(given["age"]), 3, np.digitize(given["age"], BOUNDS))
    return pd.DataFrame({
        "label": y, "best": p.argmax(axis=1), "one": p[:, 1], "amount": outputs["amount"],
        "target": given["target"].astype(np.float64), "weight": given["weight"].astype(np.float64),
        "loss": np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top - logits[np.arange(len(y)), y],
        "writer": [name.decode() for name in given["writer"]], "digit": given["digit"],
        "age": np.array(["[-inf, 30)", "[30, 50)", "[50, inf)", "nan"])[bucket], "user": given["user"], "name": given["name"],
    })  # fmt: skip


def auc(t: pd.DataFrame, weight: np.ndarray) -> float | None:
    positive = t.label == 1
    return sk.roc_auc_score(positive, t.one, sample_weight=weight) if 0 < weight[positive].sum() < weight.sum() else None


def r2(t: pd.DataFrame, weight: np.ndarray) -> float | None:
    return sk.r2_score(t.target, t.amount, sample_weight=weight) if t.target[weight > 0].nunique() > 1 else None


def spearman(t: pd.DataFrame, times: np.ndarray) -> float | None:
    copies = t.loc[np.repeat(t.index, times)]
    return stats.spearmanr(copies.target, copies.amount).statistic if copies.target.nunique() > 1 else None


def mean(values: Any, weight: np.ndarray) -> float | None:
    return np.average(values, weights=weight) if weight.sum() else None


ORACLES = {
    "accuracy": lambda t, n: mean(t.label == t.best, n),
    "weighted_accuracy": lambda t, n: mean(t.label == t.best, n * t.weight.to_numpy()),
    "cross_entropy": lambda t, n: mean(t.loss, n),
    # micro recall of one label an example is accuracy
    "weighted_recall": lambda t, n: mean(t.label == t.best, n * t.weight.to_numpy()),
    "r2": r2,
    "weighted_r2": lambda t, n: r2(t, n * t.weight.to_numpy()),
    "roc_auc": auc,
    "weighted_roc_auc": lambda t, n: auc(t, n * t.weight.to_numpy()),
    "spearman": spearman,
}


def close(value: float | None, oracle: float | None) -> bool:
    if value is None or oracle is None:
        return value is None and oracle is None
    return value == pytest.approx(oracle, rel=1e-12, abs=1e-14)


SHARES = ("accuracy", "weighted_accuracy", "weighted_recall")  # all of them are the share of examples that are right


def expected_interval(key: str, part: pd.DataFrame, value: float, drawn: list[float]) -> tuple[str | None, Any]:
    """Return method and ends: few right or wrong ones are for the exact interval, or where they are weighted for none."""
    n, spread = len(part), np.std(drawn, ddof=1)
    if key == "accuracy" and n * value * (1 - value) < 10:
        return "clopper-pearson", tuple(stats.binomtest(round(n * value), n).proportion_ci(0.95, "exact"))
    if min(drawn) == max(drawn) or (key in SHARES[1:] and (value * (1 - value) / spread) ** 2 < 10):
        return None, (None, None)
    return "percentile", tuple(np.quantile(drawn, [0.025, 0.975], method="weibull"))


def groups(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The slices by pandas, by the text of their features and values."""
    found = {}
    for by in (["writer"], ["digit"], ["writer", "digit"], ["age"]):
        for values, part in table.groupby(by):
            found[json.dumps(dict(zip(by, values, strict=True)), sort_keys=True)] = part
    return found


def test_whole_and_replicates_are_those_of_scikit_learn(alone, table):
    document = json.loads((alone["all"] / "metrics.json").read_text())
    stored = np.load(alone["all"] / "replicates.npz")
    times = multiplicities(np.arange(made.EXAMPLES), SEED, REPLICATES)
    assert set(document["metrics"]) == set(document["intervals"]) == set(stored) == set(ORACLES)
    for key, oracle in ORACLES.items():
        assert close(document["metrics"][key]["value"], oracle(table, np.ones(len(table), np.int64))), key
        expected = np.array([oracle(table, draw) for draw in times.T])
        assert stored[key] == pytest.approx(expected, rel=1e-12), key
        found = document["intervals"][key]
        low, high = np.quantile(expected, [0.025, 0.975], method="weibull")
        assert (found["low"], found["high"]) == pytest.approx((low, high), rel=1e-12), key
        assert found["method"] == "percentile", key
        assert found["standard_error"] == pytest.approx(expected.std(ddof=1), rel=1e-9), key


def test_slices_are_those_of_pandas(alone, table):
    document = json.loads((alone["all"] / "metrics.json").read_text())
    expected = groups(table)
    large = {key: part for key, part in expected.items() if len(part) >= SLICES["minimum"]}
    assert 0 < len(expected) - len(large) == document["slices_left_out"]
    found = {
        json.dumps({k: int(v) if k == "digit" else v for k, v in s["slice"].items()}, sort_keys=True): s for s in document["slices"]
    }  # fmt: skip
    assert set(found) == set(large) and len(found) == len(document["slices"])
    times = multiplicities(np.arange(made.EXAMPLES), SEED, REPLICATES)
    with_interval, seen = 0, set()
    for name, part in large.items():
        entry = found[name]
        assert entry["examples"] == len(part)
        for key, oracle in ORACLES.items():
            value = oracle(part, np.ones(len(part), np.int64))
            assert close(entry["metrics"][key]["value"], value), (name, key)
            assert entry["metrics"][key].get("reason") is None or value is None
            if value is None:
                continue
            drawn = [oracle(part, draw) for draw in times[part.index].T]
            defined = [one for one in drawn if one is not None]
            said = entry["intervals"][key]
            assert said.get("undefined", 0) == len(drawn) - len(defined), (name, key)
            if len(defined) >= 0.9 * len(drawn):
                method, ends = expected_interval(key, part, value, defined)
                assert said["method"] == method, (name, key)
                if method is None:
                    assert (said["low"], said["high"], said["standard_error"]) == (None, None, None) and said["reason"]
                    continue
                rel = 1e-7 if method == "clopper-pearson" else 1e-12
                assert (said["low"], said["high"]) == pytest.approx(ends, rel=rel, abs=1e-14), (name, key)
                seen.add(method)
                with_interval += 1
    assert with_interval > 100 and seen == {"percentile", "clopper-pearson"}


@pytest.mark.parametrize("job, feature", [("users", "user"), ("names", "name")])
def test_clusters_are_drawn_together(job, feature, alone, table):
    stored = np.load(alone[job] / "replicates.npz")
    right = (table.label == table.best).to_numpy()
    # Whatever the hash of a cluster is: accuracy is a ratio of sums over clusters, with the same multiplicity within each.
    from tensorflow import fingerprint, strings

    text = table.name.to_numpy() if feature == "name" else strings.as_string(table.user.to_numpy()).numpy()
    keys = np.frombuffer(fingerprint(text[:, None].astype(object)).numpy().tobytes(), np.int64)
    assert len(np.unique(keys)) == table[feature].nunique()
    times = multiplicities(keys, SEED, REPLICATES)
    assert stored["accuracy"] == pytest.approx([np.average(right, weights=draw) for draw in times.T], rel=1e-12)
    if job == "names":
        assert stored["roc_auc"] == pytest.approx([auc(table, draw) for draw in times.T], rel=1e-12)


def recall_of(part: pd.DataFrame) -> float | None:
    hits = (part.sort_values("amount", ascending=False).label > 0).to_numpy()
    return hits[:3].sum() / hits.sum() if hits.any() else None


def hit_of(part: pd.DataFrame) -> float | None:
    return float((part.sort_values("amount", ascending=False).label > 2)[:3].any())


def ndcg_of(part: pd.DataFrame) -> float | None:
    return (sk.ndcg_score([part.label], [part.amount]) if len(part) > 1 else 1.0) if part.label.any() else None


RANKING = {"recall_at_k(k=3)": recall_of, "hit_rate(k=3)": hit_of, "ndcg": ndcg_of}


def drawn_keys(values: pd.Series) -> np.ndarray:
    """What clusters of integers are drawn by."""
    from tensorflow import fingerprint, strings

    text = strings.as_string(values.to_numpy()).numpy()
    return np.frombuffer(fingerprint(text[:, None].astype(object)).numpy().tobytes(), np.int64)


@pytest.mark.parametrize("job", ["ranked", "teams"])
def test_rankings_are_drawn_by_whole_groups(job, alone, table):
    """By the query's own value, or by a cluster that holds whole queries; within slices as well."""
    document = json.loads((alone[job] / "metrics.json").read_text())
    stored = np.load(alone[job] / "replicates.npz")
    parts = [(table, document)] + [(table[table.writer == s["slice"]["writer"]], s) for s in document.get("slices", [])]
    for key, oracle in RANKING.items():
        key = next(name for name in document["metrics"] if name.split("(")[0] == key.split("(")[0])
        for part, entry in parts:
            values = {user: value for user, rows in part.groupby("user") if (value := oracle(rows)) is not None}
            names = pd.Series(values.keys())
            keys = names.to_numpy() if job == "ranked" else drawn_keys(names // 3)
            expected = [np.average(list(values.values()), weights=draw) for draw in multiplicities(keys, SEED, REPLICATES).T]
            if part is table:
                assert stored[key] == pytest.approx(expected, rel=1e-12), key
            found = entry["intervals"][key]
            if found["method"] == "percentile":
                low, high = np.quantile(expected, [0.025, 0.975], method="weibull")
                assert (found["low"], found["high"]) == pytest.approx((low, high), rel=1e-12), key
    if job == "ranked":  # no group has a hit: exact, for groups are drawn alone
        low, high = stats.binomtest(0, table.user.nunique()).proportion_ci(0.95, "exact")
        found = document["intervals"]["no_hit"]
        assert (found["method"], found["low"]) == ("clopper-pearson", 0.0) and found["high"] == pytest.approx(high, rel=1e-9)
    else:  # teams are drawn together, how many count is not known
        assert document["intervals"]["no_hit"]["reason"].startswith("the value is 0 in every replicate")


def test_clusters_that_cut_rankings_leave_a_reason(alone, table):
    document = json.loads((alone["torn"] / "metrics.json").read_text())
    recall, accuracy = document["intervals"]["recall_at_k"], document["intervals"]["accuracy"]
    torn = int((table.groupby("user").writer.nunique() > 1).sum())
    assert f"{torn} of {table.user.nunique()} groups of 'user' have examples of several clusters" in recall["reason"]
    assert recall["low"] is None and recall["method"] is None and accuracy["low"] is not None
    whole = json.loads((alone["ranked"] / "metrics.json").read_text())["metrics"]["recall_at_k"]
    assert document["metrics"]["recall_at_k"] == whole


@pytest.mark.ranks
@pytest.mark.parametrize("comm, size", [("mpi", 2), ("mpi", 3), ("mpi", 5), ("gloo", 2)])
def test_the_same_bytes_at_any_number_of_ranks(comm, size, jobs, alone, tmp_path):
    chosen = jobs if (comm, size) != ("mpi", 2) else ("all", "ranked", "names")  # which is in `make test`
    pairs = [f"{jobs[name]}={tmp_path / name}" for name in chosen]
    argv = over_ranks(size, comm, [sys.executable, "-m", "tests.ranks.many", *pairs])
    done = start(argv, ROOT, {"HARNESS_THREADS": "1"})
    assert done.code == 0, done.text
    for name in chosen:
        for file in ("metrics.json", "metrics.csv", "replicates.npz"):
            assert (tmp_path / name / file).read_bytes() == (alone[name] / file).read_bytes(), (name, file)
    assert read_by_comparisons(tmp_path / "all") == read_by_comparisons(alone["all"])
    rules = [{"weighted_accuracy": {"at_least": 0.5}}, {"gap": {"metric": "accuracy", "by": "writer", "at_most": 0.9}}]
    assert judged(tmp_path / "all", rules) == judged(alone["all"], rules)


TOO_MANY = "slices: expected at most 3 slices, found"


def test_too_many_slices_are_refused_with_what_to_do(jobs, harness):
    done = harness("evaluate", jobs["all"], "--set", "slices={by: [[user]], maximum: 3}", "--set", "bootstrap=null")
    assert done.code == 2, done.text
    assert TOO_MANY in done.err and "(by user)" in done.err and "raise slices.maximum" in done.err


@pytest.mark.ranks
def test_too_many_slices_end_all_ranks(jobs, tmp_path):
    """No rank alone has too many at first: each holds one chunk, the union is over the limit, and nobody waits."""
    overrides = ["--set", "slices={by: [[digit]], maximum: 2}", "--set", "bootstrap=null", "--set", "chunk_size=32"]
    argv = ["harness", "launch", "-np", "3", "--", "evaluate", str(jobs["all"]), "-o", str(tmp_path / "run"), *overrides]
    done = start(argv, tmp_path)
    assert done.code == 2, done.text
    assert "slices: expected at most 2 slices, found 3 or more" in done.text
    assert not (tmp_path / "run" / "metrics.json").exists()


@pytest.mark.parametrize(
    "metric, key, option",
    [
        ({"confusion_matrix": {"name": "c"}}, None, None),  # takes all of them: the job below runs
        ({"fid": {"output": "logits", "label": "reference"}}, "takes no weights, and the job has weight 'weight'", "weight"),
        ({"fid": {"output": "logits", "label": "reference", "weight": False}}, "takes no slices, and the job has slices", "slices"),
        ({"fid": {"output": "logits", "label": "reference", "weight": False, "slices": False}}, "takes no replicates, and the job has bootstrap", "bootstrap"),
        ({"fid": {"output": "logits", "label": "reference", "weight": "weight"}}, "takes no weights, and the job has weight 'weight'", "weight"),
    ],
)  # fmt: skip
def test_what_a_metric_does_not_take_is_refused_by_name(metric, key, option):
    from harness.errors import JobError
    from harness.job.job import Job
    from harness.metrics import make
    from harness.metrics.question import Question
    from harness.prepare.binding import bind

    job = Job.from_dict({
        "model": "m", "metrics": [metric], "slices": [["writer"]], "bootstrap": {},
        "data": {"files": "a.npz", "label": "label", "weight": "weight"},
    })  # fmt: skip
    metrics = make(job.metrics)
    if key is None:
        bindings = bind(job, metrics, {"logits": None}, {})
        assert bindings["c"].weight == "weight" and not Question(metrics, bindings, job.slices, job.bootstrap).outside_grid
        return
    with pytest.raises(JobError, match=f"metric fid: {key}; set {option}: false on this metric"):
        bind(job, metrics, {"logits": None}, {})


def test_false_leaves_one_metric_out(jobs, harness, tmp_path):
    metrics = [{"accuracy": P}, {"r2": {**A, "slices": False}}, {"roc_auc": {**P, "slices": False, "bootstrap": False, "weight": False}},
               {"spearman": {**A, "weight": False, "bootstrap": False}}, {"mean_absolute_error": {**A, "slices": False, "bootstrap": False}}]  # fmt: skip
    overrides = ["--set", f"metrics={json.dumps(metrics)}", "--set", "data.weight=weight"]
    done = harness("evaluate", jobs["all"], "-o", tmp_path / "run", *overrides)
    assert done.code == 0, done.text
    document = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert set(document["metrics"]) == {"accuracy", "r2", "roc_auc", "spearman", "mean_absolute_error"}
    assert set(document["intervals"]) == {"accuracy", "r2"}
    assert all(set(entry["metrics"]) == {"accuracy", "spearman"} for entry in document["slices"])
    given = made.examples()
    expected = np.average(np.abs(given.target - given.x.sum(axis=1)), weights=given.weight)
    assert document["metrics"]["mean_absolute_error"]["value"] == pytest.approx(expected, rel=1e-6)  # weighed, in the whole


def test_a_state_that_does_not_fit_is_refused_with_the_figure(jobs, harness):
    for command in ("evaluate", "check"):
        done = harness(command, jobs["all"], environ={"HARNESS_STATE_BYTES": "1000000"})
        assert done.code == 2, done.text
        text = " ".join(done.err.split())
        assert "the state of 61 slices x 41 draws (the whole included) takes" in text
        assert "expected at most 1,000,000 bytes" in text or "expected at most 976" in text
        assert "takes 6.8 MiB a rank" in text and "HARNESS_STATE_BYTES" in text
        # three histograms of five weighted classes; three numbers; eleven int64 each. Shared: seven statuses of each of five
        # bindings, and two numbers of two that are weighted: 79 int64 x 61 x 41
        assert "the most take weighted_recall: 3.1 MiB, what metrics share: 1.5 MiB, r2: 660,528 bytes" in text
    done = harness("check", jobs["all"])
    assert done.code == 0 and "slices and replicates: 61 slices x 41 draws" in done.out, done.text


def test_slices_whose_names_are_no_utf8_stay_apart():
    from harness.job.specs import SlicesSpec
    from harness.sums.grid import PART_END, SPEC_END, decode

    spec = SlicesSpec.model_validate([["city"]])
    keys = [f"0{SPEC_END}s{name.decode('utf-8', 'surrogateescape')}" for name in (b"Z\xfcrich", b"Z\xf6rich")]
    assert PART_END not in keys[0] and len(set(keys)) == 2
    assert [decode(key, spec).values for key in keys] == [("Z\\xfcrich",), ("Z\\xf6rich",)]
