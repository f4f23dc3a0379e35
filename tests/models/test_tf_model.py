"""Every kind of model, loaded in this process: the same classifier however it was saved, and clear words where it cannot be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.errors import JobError, ModelError
from harness.job.specs import ModelSpec
from harness.models.files import digest, digest_of, locate, resolve
from tests import kinds, made
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("kinds")
    kinds.save(place)
    return place


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def wanted() -> np.ndarray:
    return softmax(made.examples().x.astype(np.float64) @ made.kernel().astype(np.float64))


def load(folder: Path, **keys):
    from harness.models.loading import load as load_model

    spec = ModelSpec(**keys)
    return load_model(locate(spec, lambda path: str(folder / path), folder), spec, folder)


def predict(model) -> dict[str, np.ndarray]:
    """Predict in a graph, as the compiled step does."""
    import tensorflow as tf

    e = made.examples()
    given = {"x": e.x, "weight": e.weight, "examples": np.array(made.records(e.columns()), object)}
    tensors = {name: tf.constant(given[name]) for name in model.inputs}
    return {name: tensor.numpy() for name, tensor in tf.function(model.predict)(tensors).items()}


KINDS = {
    "keras2_saved_model": {"path": "keras2_saved_model"},
    "keras2_h5": {"path": "keras2.h5"},
    "keras2_keras": {"path": "keras2.keras"},
    "keras3_h5": {"path": "keras3.h5"},
    "keras3_keras": {"path": "keras3.keras"},
    "weights": {"path": "keras3.weights.h5", "python": "factories:dense", "args": {"units": 5}},
    "function": {"python": "factories:function"},
    "estimator": {"path": "estimator", "signature": "predict"},
    "version": {"path": "versions", "version": 3},
    "tflite": {"path": "float.tflite"},
    "tflite_of_one": {"path": "one.tflite"},
    "two_inputs": {"path": "signatures", "signature": "two"},
    "xla": {"path": "versions", "version": 3, "jit_compile": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_classifier_however_it_was_saved(kind, folder):
    model = load(folder, **KINDS[kind])
    found = predict(model)
    assert set(found) == set(model.outputs)
    (probabilities,) = [
        value for value in found.values() if value.dtype == np.float32 and value.shape == (made.EXAMPLES, made.CLASSES)
    ][:1]
    if "probabilities" in found:
        probabilities = found["probabilities"]
    np.testing.assert_allclose(probabilities, wanted(), atol=1e-5)


def test_an_int8_model_is_near_and_shown_as_floats(folder):
    model = load(folder, path="int8.tflite")
    assert [spec.dtype.name for spec in (*model.inputs.values(), *model.outputs.values())] == ["float32", "float32"]
    found = next(iter(predict(model).values()))
    assert np.abs(found - wanted()).max() < 0.1  # 8 bits, of weights too
    assert (found.argmax(axis=1) == wanted().argmax(axis=1)).mean() > 0.9
    assert len(np.unique(found)) <= 256


def test_a_tflite_model_is_loaded_without_a_word_of_its_library(folder, capfd):
    predict(load(folder, path="float.tflite"))
    assert capfd.readouterr() == ("", "")


def test_lookup_tables_are_initialised_and_strings_come_out(folder):
    found = predict(load(folder, path="estimator", signature="predict"))
    names = np.array([b"zero", b"one", b"two", b"three", b"four"], object)
    assert (found["class"] == names[wanted().argmax(axis=1)]).all()


def test_several_inputs_and_outputs(folder):
    model = load(folder, path="signatures", signature="two")
    assert set(model.inputs) == {"x", "weight"} and set(model.outputs) == {"probabilities", "name", "weighted"}
    found = predict(model)
    np.testing.assert_allclose(found["weighted"], wanted() * made.examples().weight[:, None], atol=1e-5)
    assert found["name"].tolist() == [str(best).encode() for best in wanted().argmax(axis=1)]
    assert model.signatures["two"].startswith("weight: float32 [?], x: float32 [?, 8] -> ")


def test_the_highest_version_or_the_one_that_is_asked_for(folder):
    assert resolve(str(folder / "versions")) == str(folder / "versions" / "20")
    assert resolve(str(folder / "versions"), 3) == str(folder / "versions" / "3")
    with pytest.raises(ModelError, match="no version 4: there are 3, 20"):
        resolve(str(folder / "versions"), 4)
    with pytest.raises(ModelError, match="this is a model, no folder of numbered versions"):
        resolve(str(folder / "signatures"), 1)
    np.testing.assert_allclose(next(iter(predict(load(folder, path="versions")).values())), softmax(-np.log(wanted())), atol=1e-4)


def test_mixed_precision_is_that_of_the_layers(folder):
    for keys in ({"path": "keras3.keras"}, {"path": "keras3.weights.h5", "python": "factories:dense"}):
        model = load(folder, precision="mixed_bfloat16", **keys)
        found = next(iter(predict(model).values())).astype(np.float64)
        exact = wanted()
        assert 1e-5 < np.abs(found - exact).max() < 0.05


@pytest.mark.parametrize(
    "keys, error, message",
    [
        ({"path": "float.tflite", "jit_compile": True}, ModelError, "XLA does not compile TFLite models"),
        ({"path": "float.tflite", "signature": "other"}, ModelError, "no signature 'other': valid: serving_default"),
        ({"path": "signatures"}, ModelError, "no signature 'serving_default': valid: two"),
        ({"path": "signatures", "signature": "two", "precision": "mixed_float16"}, ModelError, "was fixed when it was exported"),
        ({"python": "factories:nothing"}, ModelError, "the factory returned a int"),
        (
            {"python": "factories:of_a_dict"},
            ModelError,
            "argument 'features': expected a tf.TensorSpec, one tensor, found a dict of x, weight; give each input an argument",
        ),
        (
            {"python": "factories:of_a_list"},
            ModelError,
            "argument 'rows': expected a tf.TensorSpec, one tensor, found a list of 2",
        ),
        (
            {"python": "factories:of_ragged"},
            ModelError,
            "argument 'x': expected a tf.TensorSpec, one tensor, found a RaggedTensorSpec",
        ),
        (
            {"python": "factories:to_a_tuple"},
            ModelError,
            "output 'output': expected a tensor, found a tuple of 2; return one tensor",
        ),
        ({"python": "factories:to_a_nest"}, ModelError, "output 'b': expected a tensor, found a dict of c"),
        ({"python": "factories:dens"}, JobError, "did you mean 'dense'?"),
        (
            {"python": "factories:dense", "args": {"unit": 3}},
            JobError,
            "model.args: python: factories:dense: got an unexpected keyword",
        ),
        (
            {"python": "factories:dense", "args": {"units": 4}, "path": "keras3.weights.h5"},
            ModelError,
            "do not fit what the factory made",
        ),
        ({"python": "factories:dense", "path": "none.weights.h5"}, ModelError, "no such weights"),
        ({"path": "vocabulary.txt"}, ModelError, "no such model"),
        ({"path": "factories.py"}, ModelError, "expected a SavedModel folder, or a .keras, .h5 or .tflite file"),
    ],
)
def test_what_cannot_be_loaded_is_said_clearly(folder, keys, error, message):
    with pytest.raises(error) as caught:
        load(folder, **keys)
    assert message in str(caught.value)


@pytest.mark.parametrize("broken", ["float.tflite", "keras3.keras", "keras2.h5"])
def test_a_file_that_was_cut_off(folder, tmp_path, broken):
    data = (folder / broken).read_bytes()
    (tmp_path / broken).write_bytes(data[: len(data) // 3])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(tmp_path, path=broken)


WITHOUT = """
import sys
sys.modules["tf_keras"] = None
from harness.job.specs import ModelSpec
from harness.models.loading import load
try:
    load(sys.argv[1], ModelSpec(path=sys.argv[1]))
except Exception as exc:
    print(type(exc).__name__, exc)
"""


def test_a_model_of_keras_2_says_what_is_missing(folder):
    argv = [sys.executable, "-c", WITHOUT, str(folder / "keras2_saved_model")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ModelError") and "pip install 'exact-harness[keras2]'" in done.stdout


def test_the_digest_of_a_factory_covers_source_arguments_and_weights(folder, tmp_path):
    (tmp_path / "maker.py").write_text("def make(n=1): ...\n")
    (tmp_path / "w.h5").write_bytes(b"1")
    first = digest_of(ModelSpec(python="maker:make", path="w"), str(tmp_path / "w.h5"), tmp_path)
    assert digest_of(ModelSpec(python="maker:make", path="w"), str(tmp_path / "w.h5"), tmp_path) == first
    assert digest_of(ModelSpec(python="maker:make", path="w", args={"n": 2}), str(tmp_path / "w.h5"), tmp_path) != first
    (tmp_path / "w.h5").write_bytes(b"2")
    second = digest_of(ModelSpec(python="maker:make", path="w"), str(tmp_path / "w.h5"), tmp_path)
    assert second != first
    (tmp_path / "maker.py").write_text("def make(n=1): return 1\n")
    assert digest_of(ModelSpec(python="maker:make", path="w"), str(tmp_path / "w.h5"), tmp_path) != second
    assert digest(str(folder / "versions" / "3")) != digest(str(folder / "versions" / "20"))
