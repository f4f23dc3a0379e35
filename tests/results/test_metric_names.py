"""Keys, labels and exporters' names: none is taken for another, and every one leads back."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.job.specs import MetricSpec
from harness.metrics import make
from harness.metrics.contract import Binding, Inputs
from harness.metrics.question import Question
from harness.results.definitions import explanation
from harness.results.metric_names import exported_names, exported_parts, exporter_name, find_key, labels, number_labels
from harness.results.results import Results

TEXTS = st.text(st.characters(), max_size=8) | st.sampled_from(
    ["", ".", "..", "a/b", ":", ":2f", " ", "é", "\ud800", "f1", "macro"]
)


@given(st.lists(TEXTS, min_size=1, max_size=4).map(tuple))
def test_an_exporters_name_is_read_back(parts: tuple[str, ...]) -> None:
    name = exporter_name(*parts)
    assert re.fullmatch(r"[A-Za-z0-9_\-./ :]+", name)
    assert exported_parts(name) == parts  # so no two have the same
    assert not {"", ".", ".."} & set(name.split("/"))  # nor is it another path to a tracker that keeps files


@given(st.dictionaries(TEXTS, st.dictionaries(TEXTS, st.just(0.5), max_size=3) | st.just(0.5), max_size=5), st.data())
def test_no_two_numbers_are_called_alike(values: dict[str, Any], data: st.DataObject) -> None:
    kinds = st.sampled_from(
        [("f_beta", {"beta": 1.0, "average": "macro"}), ("m:f1", {}), ("precision", {"average": "per_class"})]
    )
    definitions = {}
    for key in values:
        name, options = data.draw(kinds)
        definitions[key] = {"metric": name, "options": options, "model": data.draw(st.sampled_from(["", "f1"])), "label": key}
        label = data.draw(st.sampled_from([key, "f1 macro", "f1/f1 macro", "precision"]))
        definitions[key]["label"] = key if label in [known["label"] for known in definitions.values()] else label
    document = {"metrics": {key: {"value": value} for key, value in values.items()}, "definitions": definitions}
    names = exported_names(document)
    assert len(set(names.values())) == len(names)
    assert len(names) == sum(len(value) if isinstance(value, dict) else 1 for value in values.values())


def document_of(*specs: tuple[str, dict[str, Any]], models: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what metrics.json says of some metrics, each with the value 0.5."""
    metrics = make([MetricSpec(name=name, options=options) for name, options in specs])
    if models:
        metrics = {f"{model}/{key}": metric for model in models for key, metric in metrics.items()}
    question = Question(metrics, {key: Binding(Inputs.RAW, "scores", "label") for key in metrics}, models=models)
    return {**explanation(question), "metrics": {key: {"value": 0.5} for key in metrics}}


def test_results_are_a_mapping_by_key_label_and_short_name() -> None:
    document = document_of(("f_beta", {}), ("top_k", {"k": 3}), models=("old", "new"))
    document["metrics"]["new/f_beta"]["value"] = 0.75
    results = Results(document, pd.DataFrame())
    assert {results[name] for name in ("new/f_beta", "new/f1", "new/f1 macro")} == {0.75}
    assert "old/top 3" in results and "f1" not in results and list(results) == list(document["metrics"])
    with pytest.raises(KeyError, match="did you mean 'new/f1 macro'"):
        results["new/f1 macr"]


def test_results_show_why_a_value_is_null_and_what_helps() -> None:
    document = document_of(("accuracy", {}), ("f_beta", {}))
    reason = "2 labels are NaN or out of range"
    document["metrics"]["accuracy"] = {"value": None, "examples": 9, "reason": reason}
    document["metrics"]["f_beta"]["examples"] = 9
    document["certificate"] = {"examples": 9, "chunks": 1, "id_hash": "0"}
    results = Results(document, pd.DataFrame())
    for text in (repr(results), results._repr_html_().replace("&#x27;", "'").replace("&gt;", ">")):
        assert (
            f"{reason}; data.filter leaves out examples whose label is missing; classes are numbered from 0: of labels from 1 on say data.label: 'NAME - 1'"
            in text
        )
    assert repr(results).startswith("Results(accuracy=nan, f_beta=0.5; 9 examples; accuracy is null: 2 labels")


def test_labels_are_short_and_tell_metrics_apart() -> None:
    document = document_of(
        ("top_k", {"k": 3}),
        ("f_beta", {"output": "a"}),
        ("f_beta", {"output": "b"}),
        ("f_beta", {"beta": 2, "average": "micro"}),
        ("precision", {"average": "per_class"}),
        ("precision_at_k", {"query": "user", "k": 5}),
        ("ndcg", {"query": "user"}),
        ("recall", {"name": "hit & miss"}),
        ("mean_absolute_error", {"name": "top 4"}),
    )
    assert labels(document) == {
        "top_k": "top 3",
        "f_beta(output=a)": "f_beta(output=a)",
        "f_beta(output=b)": "f_beta(output=b)",
        "f_beta(average=micro,beta=2)": "f2 micro",
        "precision": "precision",
        "precision_at_k": "precision at 5",
        "ndcg": "ndcg",
        "hit & miss": "hit & miss",
        "top 4": "top 4",
    }
    document["metrics"]["precision"]["value"] = {"cat": 1.0, "": 0.5}
    assert exported_names(document) == {
        ("top_k", ""): "top 3",
        ("f_beta(output=a)", ""): "f_beta:28output:3da:29",
        ("f_beta(output=b)", ""): "f_beta:28output:3db:29",
        ("f_beta(average=micro,beta=2)", ""): "f2/micro",
        ("precision", "cat"): "precision/cat",
        ("precision", ""): "precision",
        ("precision_at_k", ""): "precision at 5",
        ("ndcg", ""): "ndcg",
        ("hit & miss", ""): "hit :26 miss",
        ("top 4", ""): "top 4",
    }


def test_a_label_that_is_anothers_key_is_not_taken() -> None:
    document = document_of(("accuracy", {"threshold": 0.3}), ("top_k", {"name": "accuracy"}), ("accuracy", {"threshold": 0.4}))
    assert list(labels(document).values()) == ["accuracy(threshold=0.3)", "accuracy", "accuracy(threshold=0.4)"]


def test_several_models() -> None:
    document = document_of(("f_beta", {}), ("top_k", {"k": 1}), models=("left", "left/b"))
    assert list(labels(document).values()) == ["left/f1 macro", "left/top 1", "left/b/f1 macro", "left/b/top 1"]
    assert list(exported_names(document).values()) == ["left/f1/macro", "left/top 1", "left:2fb/f1/macro", "left:2fb/top 1"]
    two = document_of(("recall", {"output": "a"}), ("recall", {"output": "b"}), models=("left",))
    assert list(exported_names(two).values()) == ["left/recall:28output:3da:29", "left/recall:28output:3db:29"]


def test_classes_that_are_called_like_an_average() -> None:
    document = document_of(("precision", {"average": "per_class"}), ("precision", {"average": "macro"}))
    first, second = document["metrics"]
    document["metrics"][first]["value"] = {"macro": 0.25, "cat": 0.5}
    assert number_labels(document) == {
        (first, "macro"): f"{first}/macro",
        (first, "cat"): "precision cat",
        (second, ""): second,
    }
    assert len(set(exported_names(document).values())) == 3


def test_bounds_are_not_called_like_an_interval() -> None:
    document = document_of(("binned_roc_auc", {}))
    document["metrics"]["binned_roc_auc"] = {"value": {"estimate": 0.5, "low": 0.4, "high": 0.6}, "bounds": {}}
    assert list(number_labels(document).values()) == [
        "binned roc auc estimate",
        "binned roc auc at least",
        "binned roc auc at most",
    ]


@pytest.mark.parametrize("wanted", ["top_k", "top 3"])
def test_keys_and_labels_are_found(wanted: str) -> None:
    assert find_key(wanted, {"top_k": "top 3", "top 3x": "top 3x"}, "--sort") == "top_k"


def test_what_is_not_found_is_named() -> None:
    with pytest.raises(UsageError, match="--sort top3: nothing: did you mean 'top 3'"):
        find_key("top3", {"top_k": "top 3"}, "--sort top3: nothing")


def test_a_file_without_definitions_has_its_keys() -> None:
    document = {"metrics": {"top_k": {"value": 1}, "recall": {"value": {"cat": 1}}}}
    assert labels(document) == {"top_k": "top_k", "recall": "recall"}
    assert exported_names(document) == {("top_k", ""): "top_k", ("recall", "cat"): "recall/cat"}
