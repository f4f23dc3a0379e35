"""Slices of a served model over a table: features that are made, crossed and filtered, and how long requests took by slice."""

from __future__ import annotations

import json
import os

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.models.test_endpoints import Server, grpc_model

pytestmark = pytest.mark.slow

FUNCTIONS = """
import tensorflow as tf

def marked(features):
    return {**features, "positive": tf.cast(features["c0"] > 0, tf.int32)}

def some(features):
    return features["label"] != 1
"""
SLICES = [{"feature": "c0", "buckets": [0, 1]}, "city", ["label", {"feature": "c1", "buckets": [0]}], "positive"]


@pytest.fixture(scope="module")
def job(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    with np.load(world.folder / "all.npz") as arrays:
        columns = {f"c{number}": column for number, column in enumerate(arrays["x"].T)}
        frame = pd.DataFrame({**columns, "label": arrays["label"], "city": np.where(arrays["label"] % 2, "Oslo", "東京")})
    frame.to_parquet(folder / "table.parquet")
    (folder / "own.py").write_text(FUNCTIONS)
    data = {
        "files": str(folder / "table.parquet"), "label": "label", "inputs": {"x": "x"}, "transform": "own:marked", "filter": "own:some",
        "features": {"x": {"dtype": "float32", "columns": list(columns)}},
    }  # fmt: skip
    keys = {"data": data, "metrics": ["accuracy"], "slices": SLICES, "batch_size": 32, "chunk_size": 64}

    def write(name, model):
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"model": model, "output": str(folder / name), **keys}))
        return path

    return write, folder


def test_slices_are_those_of_the_local_model_and_requests_are_timed_by_them(world, job, harness):
    write, folder = job
    (folder / "m").mkdir()
    os.symlink(world.folder / "classifier", folder / "m" / "1")
    server = Server({"m": folder / "m"})
    try:
        for name, model in (("here", str(world.folder / "classifier")), ("there", grpc_model(server.grpc))):
            done = harness("evaluate", write(name, model))
            assert done.code == 0, done.text
    finally:
        server.kill()
    here, there = (json.loads((folder / name / "metrics.json").read_text()) for name in ("here", "there"))
    assert here["slices"] == there["slices"] and len(there["slices"]) > 10
    attempt = json.loads((folder / "there" / "run.json").read_text())["attempts"][-1]
    timed = attempt["endpoint_latency"][""]["by_slice"]
    assert [(part["slice"], part["examples"]) for part in timed] == [
        (part["slice"], part["examples"]) for part in there["slices"]
    ]
    assert all(1 <= part["requests"] <= part["examples"] for part in timed)
