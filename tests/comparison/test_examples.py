"""harness compare --examples over what harness predict wrote: counts, tests and files against NumPy, SciPy and metrics.json."""

from __future__ import annotations

import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from scipy.stats import PermutationMethod, binomtest, wilcoxon

import harness
from harness.cli import cli
from harness.comparison.example_pairs import compare_examples
from harness.comparison.examples_command import ComparedExamples
from harness.comparison.scored_examples import open_predicted
from harness.comparison.signed_ranks import signed_ranks
from harness.errors import DataError, HarnessError, UsageError

EXAMPLES, TOKENS, CLASSES, IGNORED = 210, 4, 5, 3
NAMES = ("ant", "bee", "cat", "dog", "eel")
SIDES = ("a", "b")
OUTPUTS = [f"{name}_{side}" for name in ("scores", "chance", "logit", "amount", "tokens") for side in SIDES]


def columns() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(8)
    five, two = rng.integers(0, CLASSES, EXAMPLES), rng.integers(0, 2, EXAMPLES)
    tokens = rng.integers(0, CLASSES, [EXAMPLES, TOKENS])
    found: dict[str, np.ndarray] = {
        "five": five, "two": two, "token_labels": tokens, "target": rng.normal(size=EXAMPLES).astype(np.float32),
        "animal": np.array([NAMES[number].encode() for number in five]),
    }  # fmt: skip
    for side, sharpness in zip(SIDES, (0.3, 0.6), strict=True):
        scores = rng.dirichlet(np.ones(CLASSES), EXAMPLES) + sharpness * np.eye(CLASSES)[five]
        chance = np.clip(0.4 + 0.2 * two + rng.normal(scale=0.4 - sharpness / 3, size=EXAMPLES), 0, 1).round(2)
        found |= {
            f"scores_{side}": (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32),
            f"chance_{side}": chance.astype(np.float32),
            f"logit_{side}": (8 * chance - 4).astype(np.float32)[:, None],
            f"amount_{side}": (found["target"] + rng.normal(scale=1 - sharpness, size=EXAMPLES)).astype(np.float32),
            f"tokens_{side}": rng.dirichlet(np.ones(CLASSES) / 2, [EXAMPLES, TOKENS]).astype(np.float32),
        }
    return found


def metrics(side: str) -> list[dict[str, Any]]:
    """What each side is asked of its own outputs, under the same keys."""
    return [
        {"accuracy": {"output": f"scores_{side}", "label": "five", "name": "accuracy"}},
        {"accuracy": {"output": f"scores_{side}", "label": "animal", "name": "named"}},
        {"accuracy": {"output": f"chance_{side}", "label": "two", "threshold": 0.3, "name": "chance"}},
        {"accuracy": {"output": f"logit_{side}", "label": "two", "from_logits": True, "name": "logit"}},
        {"accuracy": {"output": f"tokens_{side}", "label": "token_labels", "ignore_label": IGNORED, "name": "tokens"}},
        {"mean_absolute_error": {"output": f"amount_{side}", "label": "target", "name": "amount"}},
    ]


@pytest.fixture(scope="module")
def runs(cli_server, tmp_path_factory) -> Path:
    """Two runs of the same data in parts of other sizes and formats; one that lacks its last part, as if that were filtered."""
    import tensorflow as tf

    from tests.conftest import command

    folder = tmp_path_factory.mktemp("examples")
    data = columns()
    np.savez(folder / "data.npz", **data)
    specs = {name: tf.TensorSpec([None, *data[name].shape[1:]], tf.float32, name=name) for name in OUTPUTS}

    class Mirror(tf.Module):
        @tf.function
        def call(self, **features: Any) -> Any:
            return {name: features[name] + 0 for name in OUTPUTS}

    module = Mirror()
    tf.saved_model.save(module, str(folder / "model"), signatures=module.call.get_concrete_function(**specs))
    job = {"model": "model", "data": {"files": "data.npz", "label": "five", "classes": list(NAMES)}}
    own = {
        "a": {"chunk_size": 32},
        "b": {"chunk_size": 50, "predictions": {"format": "jsonl"}},
    }
    for name, keys in own.items():
        asked = {**job, "metrics": metrics(name), "batch_size": 16, **keys}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(asked))
        done = command(cli_server, folder, "predict", f"{name}.yaml", "-o", name)
        assert done.code == 0, done.text
    shutil.copytree(folder / "b", folder / "unfinished", ignore=shutil.ignore_patterns("_SUCCESS"))
    shutil.copytree(folder / "a", folder / "fewer")
    manifest = folder / "fewer" / "predictions" / "_manifest.json"
    document = json.loads(manifest.read_text())
    last = document["parts"].pop()
    document["left_out"] = {"read": EXAMPLES, "kept": EXAMPLES - last["examples"], "filtered": last["examples"]}
    manifest.write_text(json.dumps(document))
    shutil.copytree(folder / "b", folder / "evaluated", ignore=shutil.ignore_patterns("predictions"))
    shutil.copytree(folder / "b", folder / "changed")
    document = json.loads((folder / "b" / "metrics.json").read_text())
    document["certificate"]["content_hash"] = "0" * 16
    (folder / "changed" / "metrics.json").write_text(json.dumps(document))
    return folder


@pytest.mark.parametrize(
    "place, value, said",
    [
        (("columns", 1, "source"), [], "columns / 1 / source: "),
        (("columns", 1, "kind"), "row", "columns: expected kinds id, output, feature, found 'row'"),
        (("parts", 0, "sha256"), True, "parts / 0 / sha256: "),
        (("plan", "chunk_size"), "x", ""),
        (("plan", "chunk_size"), 0, ""),
        (("digests",), {"job": "0"}, "digests: data is missing"),
    ],
)
def test_a_manifest_that_was_edited_is_refused_by_place(runs, tmp_path, place, value, said):
    shutil.copytree(runs / "a", tmp_path / "a")
    manifest = tmp_path / "a" / "predictions" / "_manifest.json"
    document = json.loads(manifest.read_text())
    at = document
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    manifest.write_text(json.dumps(document))
    with pytest.raises(DataError, match=re.escape(f"_manifest.json: no manifest of predictions: {said}")):
        ComparedExamples.of([tmp_path / "a", runs / "b"], metrics=["accuracy"])


def test_predictions_without_a_column_that_is_read_are_refused(runs, tmp_path):
    shutil.copytree(runs / "a", tmp_path / "a")
    manifest = tmp_path / "a" / "predictions" / "_manifest.json"
    document = json.loads(manifest.read_text())
    document["columns"] = [column for column in document["columns"] if column["source"] != "five"]
    manifest.write_text(json.dumps(document))
    with pytest.raises(UsageError, match="its predictions hold no column of 'five', which metric accuracy reads"):
        ComparedExamples.of([tmp_path / "a", runs / "b"], metrics=["accuracy"])


def compared(folder: Path, *sides: str, metric: str = "accuracy", **options: Any) -> dict[str, Any]:
    return ComparedExamples.of([folder / side for side in sides or SIDES], metrics=[metric], **options).document()


def decisions(metric: str) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Labels, what each side decides, and which positions count."""
    data = columns()
    if metric in ("accuracy", "named", "tokens"):
        labels, name = (data["token_labels"], "tokens") if metric == "tokens" else (data["five"], "scores")
        decided = [data[f"{name}_{side}"].argmax(axis=-1) for side in SIDES]
        return labels, decided, labels != IGNORED if metric == "tokens" else np.ones(EXAMPLES, bool)
    bound = {"chance": np.float32(0.3), "logit": np.float32(0)}[metric]
    return data["two"], [data[f"{metric}_{side}"].reshape(-1) > bound for side in SIDES], np.ones(EXAMPLES, bool)


@pytest.mark.parametrize("metric", ["accuracy", "named", "chance", "logit", "tokens"])
def test_counts_are_those_of_numpy_and_of_the_metrics(runs, metric):
    labels, (first, second), kept = decisions(metric)
    document = compared(runs, metric=metric)
    right, other = (first == labels) & kept, (second == labels) & kept
    wanted = {"both_right": right & other, "only_baseline_right": right & ~other, "only_right": other & ~right}
    counts = {name: int(mask.sum()) for name, mask in wanted.items()}
    p = document["mcnemar"].pop("p")
    assert document["mcnemar"] == {**counts, "both_wrong": int((kept & ~right & ~other).sum())}
    assert document["flip_rate"] == pytest.approx(((first != second) & kept).sum() / kept.sum(), rel=1e-15)
    assert (document["examples"], document["positions"]) == (kept.reshape(EXAMPLES, -1).any(axis=1).sum(), kept.sum())
    if metric == "tokens":
        assert p is None
    else:
        assert p == pytest.approx(binomtest(counts["only_right"], counts["only_right"] + counts["only_baseline_right"]).pvalue)
    for side, count in zip(SIDES, (right.sum(), other.sum()), strict=True):
        value = json.loads((runs / side / "metrics.json").read_text())["metrics"][metric]["value"]
        assert value == pytest.approx(count / kept.sum(), rel=1e-15)


def losses(metric: str, side: str) -> np.ndarray:
    data = columns()
    if metric == "amount":
        return np.abs(data["target"].astype(np.float64) - data[f"amount_{side}"])
    if metric == "tokens":
        labels = data["token_labels"]
        own = np.take_along_axis(data[f"tokens_{side}"], labels[..., None], axis=-1)[..., 0].astype(np.float64)
        return np.ma.masked_array(-np.log(own), labels == IGNORED).mean(axis=1).filled(0.0)
    return -np.log(data[f"scores_{side}"][np.arange(EXAMPLES), data["five"]].astype(np.float64))


@pytest.mark.parametrize("metric", ["accuracy", "tokens", "amount"])
def test_signed_ranks_of_losses_are_those_of_scipy(runs, metric):
    first, second = (losses(metric, side) for side in SIDES)
    found = compared(runs, metric=metric)["wilcoxon"]
    theirs = wilcoxon(second - first, zero_method="wilcox", correction=False, method="asymptotic")
    assert found["p"] == pytest.approx(theirs.pvalue, rel=1e-9) and found["examples"] == np.count_nonzero(second - first)
    assert min(found["rank_sum_less"], found["rank_sum_baseline_less"]) == theirs.statistic
    if metric == "amount":
        assert "mcnemar" not in compared(runs, metric=metric)


@pytest.mark.parametrize("digits", [0, 1, 6])
@pytest.mark.parametrize("size", [1, 7, 60, 5000])
def test_ties_and_zeros_are_ranked_as_scipy_ranks_them(size, digits):
    differences = np.random.default_rng(size).normal(0.2, size=size).round(digits)
    found = signed_ranks(differences)
    assert found.zeros + found.examples == size
    if not found.examples:
        assert found.p is None
        return
    signed = differences[differences != 0]
    if found.examples == 1:
        assert found.p == 1.0
        return
    if found.examples <= 12:  # all ways to give them signs
        theirs, close = wilcoxon(signed, method=PermutationMethod(n_resamples=np.inf)), 1e-9
    elif found.examples <= 50 and digits == 6:
        theirs, close = wilcoxon(signed, method="exact"), 1e-9
    else:
        theirs = wilcoxon(differences, zero_method="wilcox", correction=False, method="asymptotic")
        close = 1e-9 if found.examples > 50 else 0.1
    assert min(found.positive, found.negative) == pytest.approx(
        min(theirs.statistic, found.examples * (found.examples + 1) / 2 - theirs.statistic), rel=1e-9
    )
    assert found.p == pytest.approx(theirs.pvalue, rel=close)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_discordant_examples_are_listed_with_both_predictions(runs, tmp_path, ending, monkeypatch):
    monkeypatch.setattr("harness.comparison.scored_examples.BLOCK", 7)  # examples that are read and written together
    read = pd.read_csv if ending == ".csv" else pd.read_parquet
    file = tmp_path / "new" / f"discordant{ending}"
    compared(runs, metric="named", discordant=file)
    table = read(file)
    labels, (first, second), _ = decisions("named")
    ids = np.flatnonzero((first == labels) != (second == labels))
    assert table["id"].tolist() == ids.tolist() and len(ids) > 20
    names = np.array(NAMES)
    wanted = {"label": names[labels], "baseline_prediction": names[first], "prediction": names[second]}
    for name, values in wanted.items():
        assert table[name].tolist() == values[ids].tolist()
    assert table["right"].tolist() == np.where(first == labels, "baseline", "prediction")[ids].tolist()
    assert table["baseline_loss"].to_numpy() == pytest.approx(losses("named", "a")[ids], rel=1e-12)
    compared(runs, metric="tokens", discordant=file)
    labels, (first, second), kept = decisions("tokens")
    places = np.argwhere(((first == labels) != (second == labels)) & kept)
    assert read(file)[["id", "position"]].to_numpy().tolist() == places.tolist()


def test_classes_have_their_names_where_the_output_is_named_like_the_label(runs):
    for side in open_predicted([runs / name for name in SIDES], metric="named"):
        assert side.class_names == NAMES
        columns = [
            replace(column, source="animal") if (column.kind, column.source) == ("output", side.binding.output) else column
            for column in side.source.manifest.columns
        ]
        side.source.manifest = replace(side.source.manifest, columns=tuple(columns))
        assert replace(side, binding=replace(side.binding, output="animal")).class_names == NAMES


def test_a_file_of_no_discordant_examples_has_its_columns(runs, tmp_path):
    compared(runs, "a", "a", discordant=tmp_path / "none.parquet")
    table = pd.read_parquet(tmp_path / "none.parquet")
    assert not len(table) and list(table)[:4] == ["id", "label", "baseline_prediction", "prediction"]
    document = compared(runs, "a", "a")
    assert (document["mcnemar"]["p"], document["flip_rate"], document["wilcoxon"]["p"]) == (1.0, 0.0, None)


def compare(*arguments: str | Path) -> str:
    done = CliRunner().invoke(cli, ["compare", *map(str, arguments)], standalone_mode=False)
    if done.exception is not None:
        assert isinstance(done.exception, HarnessError), done.exception
        return str(done.exception)
    assert not done.return_value
    return done.output


def test_the_command_prints_and_writes_what_is_found(runs, tmp_path):
    text = " ".join(compare(runs / "a", runs / "b", "--examples", "-o", tmp_path / "pairs.json").split())
    for words in (
        "both right",
        "of 210 examples",
        "McNemar, exact p",
        " % ",
        "Wilcoxon's signed ranks of 210 losses",
        "has the smaller one",
    ):
        assert words in text
    assert json.loads((tmp_path / "pairs.json").read_text()) == compared(runs)
    assert "| both wrong |" in compare(runs / "a", runs / "b", "--examples", "--markdown")
    line = pd.read_csv(io.StringIO(compare(runs / "a", runs / "b", "--examples", "--csv")))
    assert line["mcnemar_both_wrong"].tolist() == [compared(runs)["mcnemar"]["both_wrong"]]


def test_python_compares_examples_too(runs, tmp_path):
    answer = harness.compare_examples(runs / "a", str(runs / "b"), metric="accuracy", discordant=tmp_path / "found.csv")
    assert answer.document() == compared(runs) and "McNemar, exact p" in repr(answer)
    pairs = answer.pairs
    assert pairs.counts is not None and len(pd.read_csv(tmp_path / "found.csv")) == pairs.counts[1] + pairs.counts[2]
    loaded = harness.Results.load(runs / "a")
    assert harness.compare_examples(loaded, runs / "b").pairs == pairs
    with pytest.raises(HarnessError, match="results 1 lie in no folder"):
        harness.compare_examples(replace(loaded, folder=None), runs / "b")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "fewer"], "have not the same examples: a has example 192, fewer has not"),
        (["a"], "expected two runs, or one run of two models, found 1"),
        (["a", "unfinished"], "expected finished predictions, found no _SUCCESS"),
        (["a", "evaluated"], "holds no predictions: evaluate with harness predict instead of harness evaluate"),
        (["a", "changed"], "what they read of the examples differs .*: the files were changed"),
        (["a", "b", "--unpaired"], "neither --level nor --unpaired"),
        (["a", "b", "--latex"], "--latex: not with --examples"),
        (["a", "b", "--metrics", "acuracy"], "does not decide by it: .*did you mean 'accuracy'"),
        (["a", "b", "--discordant", "x.txt"], "ends with .csv or .parquet"),
        (["a", "b", "--metrics", "amount", "--discordant", "x.csv"], "neither right nor wrong"),
    ],
)
def test_what_cannot_be_compared_is_refused(runs, arguments, message, monkeypatch):
    monkeypatch.chdir(runs)
    assert re.search(message, compare(*arguments, "--examples"))


def test_other_labels_of_the_same_ids_are_refused(runs):
    """The digest of the data knows names, sizes and counts; labels are compared themselves."""
    first, _ = open_predicted([runs / "a", runs / "b"])
    _, second = open_predicted([runs / "a", runs / "b"], metric="tokens")
    with pytest.raises(HarnessError, match="the labels of some are other ones"):
        compare_examples(first, second)
