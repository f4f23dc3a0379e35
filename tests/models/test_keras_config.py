"""Keras files that would run code, or read what is not theirs: refused by both loaders. Those of the usual layers load."""

from __future__ import annotations

import copy
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import ModelError
from harness.job.specs import ModelSpec
from tests import keras_files

FORMS = [(3, ".keras"), (3, ".h5"), (2, ".keras"), (2, ".h5")]
TOP = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> dict[tuple[int, str], Path]:
    folder = tmp_path_factory.mktemp("bases")
    return {form: keras_files.base(folder, *form) for form in FORMS}


@pytest.fixture
def proof(tmp_path, monkeypatch) -> Path:
    """A file that code from a model would write; a module that writes it lies where modules are looked for."""
    place = tmp_path / "proof"
    (tmp_path / "evil_module.py").write_text(
        f"open({str(place)!r}, 'w').write('ran')\nclass Evil:\n    @classmethod\n    def from_config(cls, config): return cls()\n"
        "class Dense(Evil): ...\ndef relu(x): return x\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield place
    sys.modules.pop("evil_module", None)


def load(path: Path) -> Any:
    from harness.models.loading import load as load_model

    return load_model(str(path), ModelSpec(path=str(path)))


def refused(path: Path, proof: Path, *parts: str) -> None:
    """See that a file is refused with words, and that nothing of it was run."""
    with pytest.raises(ModelError) as caught:
        model = load(path)
        model.predict({name: np.zeros([2, keras_files.WIDTH], np.float32) for name in model.inputs})
    assert not proof.exists()
    for part in parts:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def spelled(config: Any) -> str:
    return json.dumps(config).replace('"Lambda"', '"\\u004cambda"')


def tight(config: Any) -> str:
    return json.dumps(config, separators=(",", ":"))


@pytest.mark.parametrize("write", [json.dumps, tight, spelled])
@pytest.mark.parametrize("form", FORMS)
def test_a_lambda_however_it_is_spelled(bases, form, write, tmp_path, proof):
    path = keras_files.rewrite(
        bases[form], tmp_path / f"a{form[1]}",
        lambda config: keras_files.layers(config).append(keras_files.code_layer(proof, form[0])), write,
    )  # fmt: skip
    refused(path, proof, "layers[2]", "a Lambda layer, which holds Python code; nothing of it was run", "factory")


def in_a_model(config: dict[str, Any], layer: dict[str, Any]) -> None:
    inner = copy.deepcopy(config)
    keras_files.layers(inner).append(layer)
    inner["config"]["name"] = "inner"
    keras_files.layers(config).append(inner)


def in_a_wrapper(config: dict[str, Any], layer: dict[str, Any]) -> None:
    wrapper = {"class_name": "TimeDistributed", "config": {"name": "wrapper", "trainable": True, "layer": layer}}
    if "module" in keras_files.layers(config)[1]:
        wrapper |= {"module": "keras.layers", "registered_name": None}
    keras_files.layers(config).insert(1, wrapper)


@pytest.mark.parametrize("hide", [in_a_model, in_a_wrapper])
@pytest.mark.parametrize("form", FORMS)
def test_a_lambda_deep_inside(bases, form, hide, tmp_path, proof):
    path = keras_files.rewrite(
        bases[form], tmp_path / f"a{form[1]}", lambda config: hide(config, keras_files.code_layer(proof, form[0])), tight
    )
    refused(path, proof, "a Lambda layer, which holds Python code")


@pytest.mark.parametrize("form", FORMS)
def test_a_lambda_in_place_of_an_activation(bases, form, tmp_path, proof):
    code, defaults, closure = keras_files.marshalled(proof)
    value: Any = (
        {"code": code, "defaults": defaults, "closure": closure} if form[0] == 3 else {"value": [code, defaults, closure]}
    )

    def change(config: dict[str, Any]) -> None:
        keras_files.layers(config)[1]["config"]["activation"] = {"class_name": "__lambda__", "config": value}

    refused(keras_files.rewrite(bases[form], tmp_path / f"a{form[1]}", change), proof, "a lambda, which is Python code")


LOOKED_UP = {
    "a class of a module": {"class_name": "Evil", "module": "evil_module", "registered_name": None},
    "a class with the name of a layer": {"class_name": "Dense", "module": "evil_module", "registered_name": None},
    "a class of Python's": {"class_name": "Popen", "module": "subprocess", "registered_name": "Popen"},
    "a class inside a class": {"class_name": "Evil.Inner", "module": "evil_module", "registered_name": None},
    "a registered name that nobody registered": {"class_name": "Dense", "module": "evil_module", "registered_name": "own>Dense"},
    "a layer by another name": {"class_name": "Dense", "module": "keras.utils", "registered_name": "get_file"},
    "a custom object that nobody registered": {"class_name": "own>Layer", "module": None, "registered_name": "own>Layer"},
    "a function of Keras that loads": {"class_name": "load_model", "module": "keras.models", "registered_name": "load_model"},
    "a class that is no name": {"class_name": ["Dense"], "module": "keras.layers", "registered_name": None},
    "a layer that loads another model": {"class_name": "TFSMLayer", "module": "keras.layers", "registered_name": None},
    "a layer of pickles": {"class_name": "TorchModuleWrapper", "module": "keras.layers", "registered_name": None},
}


@pytest.mark.parametrize("kind", LOOKED_UP)
@pytest.mark.parametrize("form", FORMS)
def test_objects_that_are_looked_up(bases, form, kind, tmp_path, proof):
    def change(config: dict[str, Any]) -> None:
        layer = keras_files.layers(config)[1]
        layer.update(LOOKED_UP[kind])

    refused(keras_files.rewrite(bases[form], tmp_path / f"a{form[1]}", change), proof, "layers[1]", "nothing of it was run")


FUNCTIONS = {
    "of a module": {"class_name": "function", "config": "relu", "module": "evil_module", "registered_name": "relu"},
    "of Python's": {"class_name": "function", "config": "system", "module": "os", "registered_name": "system"},
    "built in": {"class_name": "function", "config": "exec", "module": "builtins", "registered_name": "exec"},
    "of Keras that fetches": {
        "class_name": "function",
        "config": "get_file",
        "module": "keras.utils",
        "registered_name": "get_file",
    },
    "by another name": {"class_name": "function", "config": "relu", "module": "keras.utils", "registered_name": "get_file"},
    "no name": {"class_name": "function", "config": {"class_name": "Dense"}, "module": "keras.utils", "registered_name": None},
}


@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("form", FORMS)
def test_functions_by_name(bases, form, kind, tmp_path, proof):
    def change(config: dict[str, Any]) -> None:
        keras_files.layers(config)[1]["config"]["activation"] = FUNCTIONS[kind]

    refused(keras_files.rewrite(bases[form], tmp_path / f"a{form[1]}", change), proof, "activation", "function")


@pytest.mark.parametrize("form", FORMS)
def test_types_of_tensors_by_module(bases, form, tmp_path, proof):
    spec = {"class_name": "__typespec__", "spec_name": "Evil", "module": "evil_module", "config": [], "registered_name": None}

    def change(config: dict[str, Any]) -> None:
        keras_files.layers(config)[1]["config"]["activation"] = spec

    refused(keras_files.rewrite(bases[form], tmp_path / f"a{form[1]}", change), proof, "the type of tensor 'evil_module.Evil'")


@pytest.mark.parametrize(
    "layer, words",
    [
        (
            {"class_name": "TFOpLambda", "config": {"name": "a", "function": "io.write_file"}},
            "TensorFlow's function 'io.write_file'",
        ),
        ({"class_name": "TFOpLambda", "config": {"name": "a", "function": "load_op_library"}}, "'load_op_library'"),
        (
            {"class_name": "TFOpLambda", "config": {"name": "a", "function": "keras.models.load_model"}},
            "'keras.models.load_model'",
        ),
        ({"class_name": "SlicingOpLambda", "config": {"name": "a", "function": "py_function"}}, "'py_function'"),
        ({"class_name": "TFOpLambda", "config": {"name": "a", "function": "nn.fixed_unigram_candidate_sampler"}}, "TensorFlow's"),
        (
            {"class_name": "ClassMethod", "config": {"name": "a", "cls_symbol": "io.TFRecordWriter", "method_name": "x"}},
            "the method",
        ),
        ({"class_name": "InstanceMethod", "config": {"name": "a", "attr_name": "__reduce__"}}, "the method '__reduce__'"),
        ({"class_name": "InstanceProperty", "config": {"name": "a", "attr_name": "graph"}}, "the attribute 'graph'"),
        ({"class_name": "TensorFlowOpLayer", "config": {"name": "a", "node_def": {"op": "WriteFile"}}}, "operation 'WriteFile'"),
    ],
)
def test_functions_and_methods_of_tensorflow(bases, layer, words, tmp_path, proof):
    def change(config: dict[str, Any]) -> None:
        keras_files.layers(config).append(layer)

    refused(keras_files.rewrite(bases[2, ".h5"], tmp_path / "a.h5", change), proof, words)


@pytest.mark.parametrize("form", FORMS)
def test_a_vocabulary_that_is_a_file_of_this_machine(bases, form, tmp_path, proof):
    config = {"name": "v", "vocabulary": "/etc/passwd", "invert": False, "max_tokens": None}

    def change(raw: dict[str, Any]) -> None:
        keras_files.layers(raw)[1].update({"class_name": "StringLookup", "config": config})

    words = "a StringLookup that reads its vocabulary from the file /etc/passwd"
    refused(keras_files.rewrite(bases[form], tmp_path / f"a{form[1]}", change), proof, words)


def test_an_archive_that_is_an_hdf5_file_too(bases, tmp_path, proof):
    """A loader goes by the name, by the first bytes or by the last: what each of them would take is looked at."""
    evil = keras_files.rewrite(
        bases[2, ".h5"], tmp_path / "evil.h5",
        lambda config: keras_files.layers(config).append(keras_files.code_layer(proof, 2)), tight,
    )  # fmt: skip
    for ending in (".h5", ".keras"):
        both = tmp_path / f"both{ending}"
        both.write_bytes(evil.read_bytes() + bases[2, ".keras"].read_bytes())
        assert zipfile.is_zipfile(both)
        refused(both, proof, "a Lambda layer, which holds Python code")
    named = tmp_path / "named.keras"
    named.write_bytes(evil.read_bytes())
    refused(named, proof, "a Lambda layer, which holds Python code")


def test_a_folder_with_the_name_of_a_file(bases, tmp_path, proof):
    """Both loaders would take it for something else: an archive that was unpacked, a SavedModel, a checkpoint."""
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(bases[3, ".keras"]) as archive:
        archive.extractall(path)
    refused(path, proof, "expected a file, found a folder")


def test_arrays_that_lie_in_other_files(bases, tmp_path, proof):
    import h5py

    for kind in ("link", "dataset"):
        path = tmp_path / f"{kind}.h5"
        path.write_bytes(bases[2, ".h5"].read_bytes())
        with h5py.File(path, "r+") as file:
            group = file["model_weights/d/d"]
            shape, dtype = group["kernel:0"].shape, group["kernel:0"].dtype
            del group["kernel:0"]
            if kind == "link":
                group["kernel:0"] = h5py.ExternalLink(str(bases[2, ".h5"]), "model_weights/d/d/kernel:0")
            else:
                group.create_dataset("kernel:0", shape, dtype, external=[("/etc/passwd", 0, 32)])
        refused(path, proof, "expected all arrays in this file")


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_configurations_that_are_none(bases, ending, tmp_path, proof):
    deep = "[" * 100_000 + "]" * 100_000
    for text in ("{", deep, "3", '{"class_name": 3, "config": {}}'):
        path = keras_files.rewrite(bases[3, ending], tmp_path / f"a{ending}", lambda config: None, lambda config, t=text: t)
        refused(path, proof)


def test_weights_alone_are_no_model(bases, tmp_path, proof):
    import keras

    keras.saving.load_model(bases[3, ".keras"], compile=False).save_weights(tmp_path / "a.weights.h5")
    refused(tmp_path / "a.weights.h5", proof, "found no configuration")


@pytest.mark.parametrize("generation", [2, 3])
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_what_the_users_own_code_has_registered_loads(generation, ending, tmp_path):
    import keras
    import tf_keras

    k: Any = keras if generation == 3 else tf_keras

    @k.saving.register_keras_serializable(package="own")
    class Twice(k.layers.Layer):
        def call(self, x: Any) -> Any:
            return x * 2

    @k.saving.register_keras_serializable(package="own")
    def third(x: Any) -> Any:
        return x / 3

    # A registered function in an .h5 file is what tf_keras itself writes and cannot read.
    activation = "relu" if (generation, ending) == (2, ".h5") else third
    x = k.Input((3,), name="x")
    k.Model(x, k.layers.Dense(2, activation=activation)(Twice()(x))).save(tmp_path / f"own{ending}")
    try:
        load(tmp_path / f"own{ending}")
    finally:
        for name in ("own>Twice", "own>third"):
            k.saving.get_custom_objects().pop(name)
    with pytest.raises(ModelError, match="is not Keras|own>"):
        load(tmp_path / f"own{ending}")
