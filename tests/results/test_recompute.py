"""The values of a run, computed again from its folder in a process without TensorFlow: the same, or said to be missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from harness.errors import RunFolderError
from harness.folder.question_file import file_digest, read_question
from harness.folder.run_folder import RunFolder, read_json
from harness.folder.segment import read_segment
from harness.metrics import load
from harness.results.recompute import Recomputed, recompute_run
from harness.run.verify import verify
from harness.sums import layout_json
from harness.version import __version__
from tests import made
from tests.conftest import BIN, ROOT, command, start

COSTS = """
import numpy as np
from harness.metrics.contract import HostMetric

class Cost(HostMetric):
    summary = "what an error costs"
    price: float = 1.0

    def columns(self):
        return ("cost",)

    def host_terms(self, labels, predictions):
        return np.where(predictions.argmax(axis=1) == labels, 0.0, self.price)[:, None]

    def value(self, totals):
        return totals.mean("cost")
"""
AGAIN = """
import json, sys
from pathlib import Path
from harness.folder.run_folder import RunFolder
from harness.metrics import load
from harness.results.recompute import recompute_run
folder = RunFolder(Path(sys.argv[1]))
names = json.loads(folder.run_json.read_text())["journal"]
found = recompute_run(folder, names, lambda target: load(target, Path(sys.argv[2])))
print(json.dumps({"problems": found.problems(folder), "missing": dict(found.missing), "document": found.document,
                  "loaded": sorted({"tensorflow", "horovod", "mpi4py", "keras"} & set(sys.modules))}))
"""


@pytest.fixture(scope="module")
def ran(cli_server: subprocess.Popen[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two models, with metrics of all kinds, slices and replicates."""
    folder = tmp_path_factory.mktemp("recompute")
    made.save_models(folder)
    random = np.random.default_rng(3)
    columns = {**made.examples().columns(), "writer": np.array([b"anna", b"bo b", b"\xff"])[random.integers(0, 3, made.EXAMPLES)]}
    columns["age"] = random.uniform(10, 80, made.EXAMPLES).astype(np.float32)
    made.write_tfrecord(folder / "data.tfrecord", made.records(columns))
    (folder / "costs.py").write_text(COSTS)
    job = {
        "models": {"left": str(folder / "classifier"), "right": str(folder / "classifier.keras")},
        "data": {"files": [str(folder / "data.tfrecord")], "label": "label", "classes": list("abcde")},
        "metrics": [
            "accuracy", {"recall": {"average": "per_class"}}, {"cross_entropy": {"weight": "weight"}}, "confusion_matrix",
            {"roc_auc": {"positive": 2}}, "expected_calibration_error", {"binned_roc_auc": {"positive": 2, "bins": 20}}, {"python": {"metric": "costs:Cost", "price": 2.5}},
        ],
        "slices": {"by": [["writer"], ["writer", {"feature": "age", "buckets": [30, 50]}]], "minimum": 20},
        "bootstrap": {"replicates": 40, "seed": 5}, "batch_size": 16, "chunk_size": 32,
    }  # fmt: skip
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    done = command(cli_server, folder, "evaluate", "job.yaml", "-o", folder / "run")
    assert done.code == 0, done.text
    return folder


@pytest.fixture
def run(ran: Path, tmp_path: Path) -> RunFolder:
    """A copy of it, to be changed."""
    shutil.copytree(ran / "run", tmp_path / "run")
    return RunFolder(tmp_path / "run")


def again(folder: RunFolder, own: Any = None) -> Recomputed:
    return recompute_run(folder, read_json(folder.run_json)["journal"], own)


def test_values_slices_intervals_and_files_are_the_same_without_tensorflow(ran: Path) -> None:
    done = start([sys.executable, "-c", AGAIN, ran / "run", ran], ROOT)
    assert done.code == 0, done.text
    found = json.loads(done.out)
    assert (found["problems"], found["missing"], found["loaded"]) == ([], {}, [])
    reported = json.loads((ran / "run" / "metrics.json").read_text())
    sections = ("metrics", "intervals", "slices", "slices_left_out", "differences")
    assert found["document"] == {name: reported[name] for name in sections}
    assert found["document"]["intervals"]["left/Cost"]["method"] == "percentile"
    assert found["document"]["slices_left_out"] > 0 and len(found["document"]["slices"]) > 3


def test_layouts_come_back_with_their_digest(run: RunFolder) -> None:
    _, layouts = read_question(run)
    origin, _ = read_segment(next(run.journal.glob("*.segment")))
    assert file_digest(run) == origin.layout
    assert layout_json.from_json(json.loads(json.dumps(layout_json.to_json(layouts)))) == layouts


def test_what_lacks_its_module_is_named_and_passed_over(run: RunFolder) -> None:
    found = again(run)
    assert set(found.missing) == {"left/Cost", "right/Cost"} and found.missing["left/Cost"].startswith("costs:Cost: ")
    assert found.problems(run) == []
    assert "left/Cost" not in found.document["metrics"] and "left/accuracy" in found.document["metrics"]
    assert "Cost" not in found.document["differences"]["right - left"]


def test_what_fails_when_it_is_computed_is_named(run: RunFolder, ran: Path) -> None:
    class Broken(load("costs:Cost", ran)):  # type: ignore[misc]
        def value(self, totals: Any) -> float:
            return 1 / 0

    found = again(run, lambda target: Broken)
    reason = "it could not be computed: metric right/Cost: Broken.value raised ZeroDivisionError: division by zero ("
    assert found.missing["right/Cost"].startswith(reason)
    assert found.problems(run) == []


def changed(folder: RunFolder, change: Any) -> list[str]:
    document = json.loads(folder.metrics_json.read_text())
    change(document)
    folder.metrics_json.write_text(json.dumps(document))
    return again(folder).problems(folder)


def test_a_value_that_was_changed_is_named(run: RunFolder) -> None:
    def change(document: dict[str, Any]) -> None:
        document["metrics"]["left/accuracy"]["value"] += 2**-53
        del document["intervals"]["left/roc_auc"]["low"]
        document["slices"][1]["metrics"]["right/recall"]["value"]["a"] = None
        document["slices"][0]["examples"] = True
        document["differences"]["right - left"]["invented"] = {"value": 0}

    problems = changed(run, change)
    assert len(problems) == 5
    for part in ("metrics / left/accuracy / value", "left/roc_auc / low is not there", "slices / 1 / metrics / right/recall / value / a is null",
                 "slices / 0 / examples is true", "invented / value is 0, the sums of the journal give no such value"):  # fmt: skip
        assert any(part in text for text in problems), (part, problems)


def test_a_result_explains_itself(run: RunFolder) -> None:
    document = read_json(run.metrics_json)
    assert (document["schema_version"], document["harness_version"]) == (1, __version__)
    assert document["bootstrap"] == {"replicates": 40, "seed": 5, "level": 0.95, "cluster": None}
    definitions = document["definitions"]
    assert set(definitions) == set(document["metrics"])
    loss, recall, cost = (definitions[f"right/{key}"] for key in ("cross_entropy", "recall", "Cost"))
    assert (loss["metric"], loss["label"], loss["model"], loss["better"]) == (
        "cross_entropy", "right/cross entropy", "right", "lower",
    )  # fmt: skip
    assert [loss["binding"][name] for name in ("label", "output", "weight")] == ["label", "right/probabilities", "weight"]
    assert recall["options"]["average"] == "per_class" and recall["definition"] == "TP / (TP + FN) per class, averaged"
    assert (cost["python"], cost["options"]["price"], cost["definition"]) == ("costs:Cost", 2.5, "what an error costs")
    rows = document["metrics"]["left/confusion_matrix"]["value"]["rows"]
    assert document["metrics"]["left/recall"]["support"] == {name: sum(counts) for name, *counts in rows}
    binned = document["metrics"]["left/binned_roc_auc"]
    assert binned["bounds"] == {"at_least": binned["value"]["low"], "at_most": binned["value"]["high"]}
    for slice_ in document["slices"]:
        assert sum(slice_["metrics"]["left/recall"]["support"].values()) == slice_["examples"]


def test_a_definition_that_was_changed_is_named(run: RunFolder) -> None:
    def change(document: dict[str, Any]) -> None:
        document["definitions"]["left/recall"]["options"]["average"] = "macro"
        document["definitions"]["left/recall"]["definition"] = "the words of another version"
        document["bootstrap"]["seed"] = 6

    assert changed(run, change) == [
        "metrics.json says bootstrap / seed is 6, question.json gives 5",
        'metrics.json says definitions / left/recall / options / average is "macro", question.json gives "per_class"',
    ]


def test_a_result_from_before_there_were_versions(run: RunFolder) -> None:
    def change(document: dict[str, Any]) -> None:
        for name in ("schema_version", "harness_version", "definitions", "bootstrap"):
            del document[name]
        for part in (document, *document["slices"]):
            for entry in part["metrics"].values():
                entry.pop("support", None)
                entry.pop("bounds", None)

    assert changed(run, change) == []
    assert len(changed(run, lambda document: document["metrics"]["left/accuracy"].update(value=0.5))) == 1


def test_files_beside_it_are_compared(run: RunFolder) -> None:
    table = run.table_csv("left/confusion_matrix")
    table.write_text(table.read_text().replace(",", ";", 1))
    run.table_csv("right/confusion_matrix").unlink()
    assert [text.partition(" ")[0] for text in again(run).problems(run)] == [
        table.name,
        run.table_csv("right/confusion_matrix").name,
    ]


@pytest.mark.parametrize(
    "path, value",
    [
        (("version",), 1), (("question",), None), (("layouts", "draws"), 7), (("layouts", "draws"), "x"), (("layouts", "specs"), 0),
        (("question", "slices"), None), (("question", "bootstrap", "replicates"), 3), (("question", "metrics", 0, "options", "name"), 4),
        (("layouts", "summed", 0, "shape"), [2**60]), (("layouts", "bindings", 0, "inputs"), "NONE"), (("layouts", "rows"), {"a": 1}),
    ],
)  # fmt: skip
def test_a_question_that_was_changed_does_not_go_with_the_journal(run: RunFolder, path: tuple[Any, ...], value: Any) -> None:
    document = json.loads(run.question_json.read_text())
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    run.question_json.write_text(json.dumps(document))
    with pytest.raises(RunFolderError):
        again(run)


def test_a_question_that_is_not_there(run: RunFolder) -> None:
    run.question_json.unlink()
    with pytest.raises(RunFolderError, match=r"question\.json is missing or torn"):
        again(run)


def test_verify_computes_the_values_again(run: RunFolder, ran: Path) -> None:
    done = start([BIN / "harness", "verify", run.path, "--python", ran], ROOT)
    assert done.code == 0 and "verified: the values in metrics.json and the tables are those" in done.out, done.text
    assert "not verified: the values" not in done.out
    lines, good = verify(run)
    assert good and [line for line in lines if line.startswith("not verified: the values of left/Cost: costs:Cost: ")]
    document = read_json(run.metrics_json)
    document["metrics"]["left/accuracy"]["value"] += 1e-12
    run.metrics_json.write_text(json.dumps(document))
    lines, good = verify(run)
    assert not good and any("metrics.json says metrics / left/accuracy / value is " in line for line in lines)
    run.question_json.unlink()
    assert any("there is no question.json" in line for line in verify(run)[0])


def test_an_edited_question_is_found(run: RunFolder) -> None:
    """Precision for recall, say: both lie at the same place of the sums."""
    document = read_json(run.question_json)
    (recall,) = [entry for entry in document["question"]["metrics"] if entry["key"] == "left/recall"]
    recall["metric"] = "precision"
    run.question_json.write_text(json.dumps(document, indent=1) + "\n")
    lines, good = verify(run)
    assert not good and any("question.json is not what was asked when" in line for line in lines)


@pytest.mark.parametrize("name", ["question.json", "metrics.json", "plan.json", "job.json", "run.json"])
def test_a_pipe_in_place_of_a_file_is_an_answer(run: RunFolder, name: str) -> None:
    (run.path / name).unlink()
    os.mkfifo(run.path / name)
    assert not verify(run)[1]


def test_what_a_terminal_would_obey_is_written_out(run: RunFolder) -> None:
    document = read_json(run.question_json)
    document["question"]["metrics"][0] = {**document["question"]["metrics"][0], "key": "a\r\x1b[2Kverified \ud800"}
    run.question_json.write_text(json.dumps(document))
    done = start([BIN / "harness", "verify", run.path], ROOT)
    assert done.code == 1 and "Traceback" not in done.text and "\x1b" not in done.text and "\r" not in done.text
