"""Folders of images and lists of paths, end to end at 1, 2 and 3 ranks: the numbers of the same pixels in an archive."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.conftest import ROOT, Done, over_ranks, start

pytestmark = pytest.mark.slow

CLASSES = ("cat", "dog", "owl")
SHAPE = (6, 5, 3)
EXAMPLES = 61
KEYS = {"metrics": ["accuracy", "cross_entropy"], "slices": [["label"]], "batch_size": 4, "chunk_size": 8}
NUMBERS = ("metrics", "slices")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model, the images as files, and the same pixels in an archive; a job each."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(8)
    label = np.sort(rng.integers(0, len(CLASSES), EXAMPLES))  # folders are read in the order of their names
    pixels = rng.integers(0, 256, (EXAMPLES, *SHAPE), dtype=np.uint8)
    lines = ["path,label"]
    for number, (picture, of) in enumerate(zip(pixels, label.tolist(), strict=True)):
        path = folder / "val" / CLASSES[of] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tf.io.encode_png(picture).numpy())
        lines.append(f"{path.relative_to(folder)},{of}")
    (folder / "list.csv").write_text("\n".join(lines) + "\n")
    np.savez(folder / "all.npz", image=pixels, label=label)

    def probabilities(image: Any) -> Any:
        return {"probabilities": tf.nn.softmax(tf.reduce_mean(tf.cast(image, tf.float32), axis=[1, 2]) / 8)}

    module = tf.Module()
    spec = tf.TensorSpec([None, *SHAPE], tf.uint8, name="image")
    tf.saved_model.save(module, str(folder / "model"), {"serving_default": tf.function(probabilities, [spec])})
    sections: dict[str, dict[str, Any]] = {
        "npz": {"files": "all.npz"},
        "folders": {"files": "val", "format": "images"},
        "list": {"files": "list.csv", "format": "images"},
    }
    for name, data in sections.items():
        features = {} if name == "npz" else {"features": {"image": {"dtype": "uint8", "shape": list(SHAPE), "image": True}}}
        job = {"model": "model", **KEYS, "data": {"inputs": {"image": "image"}, "label": "label", **features, **data}}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(job))
    return folder


def numbers(run: Path) -> dict[str, Any]:
    result = json.loads((run / "metrics.json").read_text())
    assert result["certificate"]["examples"] == EXAMPLES
    return {key: result[key] for key in NUMBERS}


def test_images_are_scored_as_their_pixels(folder: Path, harness: Callable[..., Done], tmp_path: Path) -> None:
    for name in ("npz", "folders", "list"):
        done = harness("evaluate", folder / f"{name}.yaml", "-o", tmp_path / name)
        assert done.code == 0, done.text
    expected = numbers(tmp_path / "npz")
    assert 0.2 < expected["metrics"]["accuracy"]["value"] < 0.6  # nothing is learned, nothing is constant
    assert numbers(tmp_path / "folders") == numbers(tmp_path / "list") == expected


@pytest.mark.ranks
@pytest.mark.parametrize("ranks", [2, 3])
def test_images_at_several_ranks(folder: Path, tmp_path: Path, ranks: int) -> None:
    words = [f"{folder / name}.yaml={tmp_path / name}" for name in ("npz", "folders", "list")]
    done = start(over_ranks(ranks, "mpi", [sys.executable, "-m", "tests.ranks.many", *words]), ROOT)
    assert done.code == 0, done.text
    assert numbers(tmp_path / "folders") == numbers(tmp_path / "list") == numbers(tmp_path / "npz")
    if ranks == 2:
        alone = start(["harness", "evaluate", folder / "folders.yaml", "-o", tmp_path / "alone"], folder)
        assert alone.code == 0, alone.text
        assert (tmp_path / "alone" / "metrics.json").read_bytes() == (tmp_path / "folders" / "metrics.json").read_bytes()
