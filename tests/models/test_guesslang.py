"""A classifier of others: guesslang, an Estimator's SavedModel from PyPI that takes the text of a source file and names its language."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import tensorflow as tf
import yaml
from sklearn.metrics import accuracy_score, confusion_matrix

WHEEL = "guesslang==2.2.1"
LIMIT_S = 120
SOURCES = [
    ("py", "import os\nimport sys\n\n\ndef main(argv):\n    for name in os.listdir('.'):\n        print(name, len(argv))\n"),
    ("c", '#include <stdio.h>\n\nint main(int argc, char **argv)\n{\n    printf("%d %s\\n", argc, argv[0]);\n    return 0;\n}\n'),
    ("go", 'package main\n\nimport "fmt"\n\nfunc main() {\n\tfor i := 0; i < 3; i++ {\n\t\tfmt.Println(i)\n\t}\n}\n'),
    ("rs", 'fn main() {\n    let names: Vec<String> = std::env::args().collect();\n    println!("{}", names.len());\n}\n'),
    (
        "java",
        "public class Main {\n    public static void main(String[] args) {\n        System.out.println(args[0]);\n    }\n}\n",
    ),
    ("sh", '#!/bin/sh\nset -eu\nfor name in "$@"; do\n    if [ -f "$name" ]; then\n        wc -l < "$name"\n    fi\ndone\n'),
    ("html", "<!DOCTYPE html>\n<html>\n<head><title>Counts</title></head>\n<body><ul><li>one</li></ul></body>\n</html>\n"),
    ("sql", "CREATE TABLE counts (name TEXT, number INTEGER);\nSELECT name, SUM(number) FROM counts GROUP BY name;\n"),
    ("js", "x = 1\n"),  # which it cannot know
    ("cpp", "int f(int x) { return x; }\n"),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The folder of the unpacked wheel."""
    folder = tmp_path_factory.mktemp("guesslang")
    argv = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder), WHEEL]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        pytest.skip(f"PyPI did not give {WHEEL} within {LIMIT_S} s")
    if done.returncode:
        pytest.skip(f"PyPI is not reached, or does not give {WHEEL}: {done.stderr.strip()[-200:]}")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        archive.extractall(folder)
    return folder / "guesslang" / "data"


def test_guesslang_is_evaluated_with_the_languages_as_labels(wheel, harness, tmp_path):
    names = list(json.loads((wheel / "languages.json").read_text()).values())
    (tmp_path / "languages.txt").write_text("".join(name + "\n" for name in names))
    rows = [{"content": text, "language": name} for name, text in SOURCES]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    job = tmp_path / "job.yaml"
    data = {"files": "a.jsonl", "label": "language", "classes": "languages.txt"}
    metrics = [{name: {"output": "scores"}} for name in ("accuracy", "confusion_matrix")]
    keys = {"metrics": [*metrics, {"top_k": {"output": "scores", "k": 5}}], "slices": ["language"], "batch_size": 4}
    job.write_text(yaml.safe_dump({"model": str(wheel / "model"), "data": data, **keys}))

    done = harness("predict", job, "-o", "run")
    assert done.code == 0, done.text
    document = json.loads((tmp_path / "run" / "metrics.json").read_text())

    outputs = tf.saved_model.load(str(wheel / "model")).signatures["serving_default"](tf.constant([t for _, t in SOURCES]))
    assert [name.decode() for name in outputs["classes"].numpy()[0]] == names
    labels, scores = [name for name, _ in SOURCES], outputs["scores"].numpy()
    predicted = [names[column] for column in scores.argmax(axis=1)]
    ranks = [int((row > row[names.index(label)]).sum()) for row, label in zip(scores, labels, strict=True)]
    values = {key: entry["value"] for key, entry in document["metrics"].items()}
    assert values["accuracy"] == accuracy_score(labels, predicted) and 0.5 < values["accuracy"] < 1
    assert values["top_k"] == np.mean(np.array(ranks) < 5)
    table = values["confusion_matrix"]
    assert table["columns"] == ["label", *names]
    np.testing.assert_array_equal([row[1:] for row in table["rows"]], confusion_matrix(labels, predicted, labels=names))
    assert {entry["slice"]["language"] for entry in document["slices"]} == set(labels)

    again = harness("evaluate", job, "--predictions", "run", "-o", "again")
    assert again.code == 0, again.text
    assert json.loads((tmp_path / "again" / "metrics.json").read_text())["metrics"] == document["metrics"]
    refused = harness("evaluate", job, "-o", "refused", "--set", "data.classes=null")
    assert refused.code == 2 and "found 10 names, and output 'scores' has 54" in refused.text
