"""Keras files with a configuration of the test's own: legitimate ones, saved by Keras, and what an attacker makes of them."""

from __future__ import annotations

import base64
import json
import marshal
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

WIDTH = 4


def base(folder: Path, generation: int, ending: str) -> Path:
    """Save a model of one dense layer with Keras 3 or with tf_keras."""
    import keras
    import tf_keras

    path = folder / f"base{generation}{ending}"
    if generation == 3:
        model = keras.Sequential([keras.Input((WIDTH,), name="x"), keras.layers.Dense(2, activation="relu", name="d")])
        model.save(path)
    else:
        model = tf_keras.Sequential(
            [tf_keras.layers.InputLayer((WIDTH,), name="x"), tf_keras.layers.Dense(2, activation="relu", name="d")]
        )
        model.save(path)
    return path


def rewrite(
    source: Path, target: Path, change: Callable[[dict[str, Any]], None], write: Callable[[Any], str] = json.dumps
) -> Path:
    """Copy a model with its configuration changed; `write` turns it into text."""
    import h5py

    if source.suffix == ".h5":
        shutil.copy(source, target)
        with h5py.File(target, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            change(config)
            file.attrs["model_config"] = write(config)
        return target
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                change(config)
                data = write(config).encode()
            new.writestr(name, data)
    return target


def layers(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the list of the layers of a configuration."""
    return config["config"]["layers"]


def marshalled(proof: Path) -> list[Any]:
    """Return Python code as tf_keras writes it, which leaves a proof that it ran."""
    code = compile(f"lambda x: (open({str(proof)!r}, 'w').write('ran'), x)[1]", "<file>", "eval").co_consts[0]
    return [base64.b64encode(marshal.dumps(code)).decode(), None, None]


def code_layer(proof: Path, generation: int) -> dict[str, Any]:
    """Return a Lambda layer that leaves a proof when it is called: so also when a model is built of it."""
    code, defaults, closure = marshalled(proof)
    common = {"name": "code", "trainable": True, "dtype": "float32", "arguments": {}}
    if generation == 3:
        function: Any = {"class_name": "__lambda__", "config": {"code": code, "defaults": defaults, "closure": closure}}
        config = {**common, "function": function}
        return {"module": "keras.layers", "class_name": "Lambda", "config": config, "registered_name": None}
    config = {
        **common, "function": [code, defaults, closure], "function_type": "lambda", "module": "builtins", "output_shape": None,
        "output_shape_type": "raw", "output_shape_module": None,
    }  # fmt: skip
    return {"class_name": "Lambda", "config": config}
