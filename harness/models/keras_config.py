"""The configuration of a Keras file: read as the loaders read it, and searched for what could run code. Loads no Keras.

A configuration is a tree of objects by name: layers, the parts of layers, functions. Both loaders look names up in what is
registered, in their own modules and, where the file asks for it, in any module that can be imported. So the whole tree is
walked before either of them sees it, and a name passes only where `keras_names` knows it, or where code of the user's own
process has registered it. The rules hold for the formats of both generations, as one file may mix them.
"""

from __future__ import annotations

import builtins
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from harness.errors import ModelError
from harness.models import keras_names as names

__all__ = ["Registered", "check", "configurations"]

Registered = Callable[[str], Any]  # what the user's own code has registered under a name with a loader, or None

CONFIG = "config.json"
CONFIG_BYTES = 1 << 28  # a configuration of this size is no model's
UNKNOWN = "none of Keras' own that are known to be harmless"
KERAS = re.compile(r"(tf_)?keras(\.\w+)*")
CODE = {
    "Lambda": "a Lambda layer, which holds Python code",
    "__lambda__": "a lambda, which is Python code",
    "TFSMLayer": "a TFSMLayer, which loads another model",
    "TorchModuleWrapper": "a TorchModuleWrapper, which holds pickled objects",
    "JaxLayer": "a JaxLayer, which holds Python code",
    "FlaxLayer": "a FlaxLayer, which holds Python code",
}


def check(path: str, registered: Registered) -> None:
    """Refuse a file whose configuration could run code, or that reads other files.

    Args:
      path: a .keras archive or an .h5 file.
      registered: of the loader that is to load it.
    Raises: ModelError: it does, or it cannot be read; names the place in the configuration.
    """
    empty = True
    for config in configurations(path):
        empty = False
        for where, entry in _objects(config):
            if problem := _problem(entry, registered):
                raise ModelError(
                    f"{path}: {where}: the configuration names {problem}; nothing of it was run. Make the model with a factory "
                    "(model: {python: package.module:factory}) and take the weights alone from the file"
                )
    if empty:
        raise ModelError(
            f"{path}: the model cannot be loaded: expected a .keras archive or a whole model in .h5, found no configuration"
        )


def configurations(path: str) -> Iterator[Any]:
    """Yield every configuration that a loader could take from a file, parsed: one file may be an archive and HDF5 too.

    Raises: ModelError: it cannot be read.
    """
    try:
        if os.path.isdir(path):
            raise ValueError("expected a file, found a folder")
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if archive.getinfo(CONFIG).file_size > CONFIG_BYTES:
                    raise ValueError(f"expected a {CONFIG} of at most {CONFIG_BYTES:,} bytes")
                yield _uncompiled(archive.read(CONFIG))
        yield from _hdf5(path)
    except (OSError, ValueError, KeyError, RecursionError, RuntimeError, zipfile.BadZipFile) as exc:
        reason = " ".join(str(exc).split())[:300]
        raise ModelError(f"{path}: the model cannot be loaded: {type(exc).__name__}: {reason}") from exc


def _hdf5(path: str) -> Iterator[Any]:
    import h5py

    if not h5py.is_hdf5(path):
        return
    with h5py.File(path, "r") as file:
        raw = file.attrs.get("model_config")
        if raw is not None:
            if not isinstance(raw, bytes | str):
                raise ValueError(f"expected a model_config of text, found {type(raw).__name__}")
            yield json.loads(raw if isinstance(raw, str) else raw.decode())
        _keep_inside(path, file)


def _keep_inside(path: str, file: Any) -> None:
    """Refuse an HDF5 file that reads its arrays from other files.

    Raises: ModelError: it does.
    """
    import h5py

    def look(name: str, link: Any) -> str | None:
        if isinstance(link, h5py.ExternalLink):
            return f"{name} lies in {link.filename}"
        item = file[name] if isinstance(link, h5py.HardLink) else None
        return f"{name} lies in others" if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual) else None

    if elsewhere := file.visititems_links(look):  # ends at the first that it gives
        raise ModelError(f"{path}: expected all arrays in this file, found that {elsewhere}; save the model as one file")


def _uncompiled(raw: bytes) -> Any:
    """Parse a configuration; how the model was compiled is left out, as both loaders do that are told not to compile it."""
    config = json.loads(raw)
    return {key: value for key, value in config.items() if key != "compile_config"} if isinstance(config, dict) else config


def _objects(config: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield all that names a class, and where it stands; without recursion, for the depth is the file's."""
    left = [("", config)]
    while left:
        where, value = left.pop()
        if isinstance(value, Mapping):
            if "class_name" in value:
                yield where or "model", value
            left += [(f"{where}.{key}".removeprefix("."), held) for key, held in value.items()]
        elif isinstance(value, list):
            left += [(f"{where}[{place}]", held) for place, held in enumerate(value)]


def _problem(entry: Mapping[str, Any], registered: Registered) -> str | None:
    """Say what is wrong with an object; None where it is known to be harmless."""
    name = entry["class_name"]
    if not isinstance(name, str):
        return f"a class by a {type(name).__name__}, expected text"
    if name in CODE:
        return CODE[name]
    if name == "function":
        return _function(entry, registered)
    if name in ("__typespec__", "TypeSpec"):
        return _spec(entry)
    label = entry.get("registered_name", name)
    if isinstance(label, str) and (own := registered(label)) is not None and name in (label, getattr(own, "__name__", "")):
        return None  # the loader takes this one, wherever the file says that it lies
    if problem := _place(entry, name):
        return problem
    config = entry.get("config")
    rule = RULES.get(name)
    if rule is not None:
        return rule(config if isinstance(config, Mapping) else {})
    if name in names.LOOKUPS and isinstance(config, Mapping) and isinstance(config.get("vocabulary"), str):
        return f"a {name} that reads its vocabulary from the file {config['vocabulary']}"
    if name.removeprefix("Custom>") in names.CLASSES or name in names.VALUES:
        return None
    return f"the class {_short(name)}, which is {UNKNOWN}, and is registered by no code of yours"


def _place(entry: Mapping[str, Any], name: str) -> str | None:
    """See that one of Keras' own names stands for Keras' own: it may be looked up by its module and a second name."""
    module, label = entry.get("module"), entry.get("registered_name")
    if module is not None and not (isinstance(module, str) and KERAS.fullmatch(module)):
        return f"{_short(name)} of the module {_short(module)}, which is not Keras'"
    if label not in (None, name) and not (isinstance(label, str) and label == f"Custom>{name}"):
        return f"{_short(name)} by another name, {_short(label)}"
    return None


def _function(entry: Mapping[str, Any], registered: Registered) -> str | None:
    name, module, label = entry.get("config"), entry.get("module"), entry.get("registered_name")
    if not isinstance(name, str):
        return f"a function by a {type(name).__name__}, expected text"
    if registered(name) is not None:
        return None
    if label not in (None, name, "function"):
        return f"the function {_short(name)} by another name, {_short(label)}"
    if module == "builtins":  # what Keras writes where it knows no module: a name of its own, or one that is registered
        return f"the function {_short(name)} of Python" if hasattr(builtins, name) and name not in names.FUNCTIONS else None
    if name in names.FUNCTIONS and (module is None or (isinstance(module, str) and KERAS.fullmatch(module))):
        return None
    return f"the function {_short(name)} of the module {_short(module)}, which is {UNKNOWN}"


def _spec(entry: Mapping[str, Any]) -> str | None:
    legacy = entry["class_name"] == "TypeSpec"
    name = entry.get("type_spec") if legacy else f"{entry.get('module')}.{entry.get('spec_name')}"
    known = name in names.SPECS if isinstance(name, str) else False
    return None if known and entry.get("registered_name") is None else f"the type of tensor {_short(name)}, which is not known"


def _tf_function(config: Mapping[str, Any]) -> str | None:
    symbol = config.get("function")
    bare = symbol.removeprefix("compat.v1.") if isinstance(symbol, str) else ""
    space, dot, last = bare.rpartition(".")
    known = (
        bare in names.TF_FUNCTIONS
        or (bool(dot) and space.partition(".")[0] in names.NAMESPACES and bare not in names.READING)
        or (space == "keras.backend" and last in names.BACKEND)
        or (space in ("keras.activations", "keras.losses", "keras.metrics") and last in names.FUNCTIONS)
    )
    return None if known else f"TensorFlow's function {_short(symbol)}, which is not known to compute with tensors alone"


def _class_method(config: Mapping[str, Any]) -> str | None:
    symbol, method = config.get("cls_symbol"), config.get("method_name")
    known = symbol in names.TENSOR_CLASSES and isinstance(method, str) and method.startswith("from_")
    return None if known else f"the method {_short(method)} of {_short(symbol)}, which is not known"


def _method(config: Mapping[str, Any]) -> str | None:
    name = config.get("attr_name")
    return None if name in names.METHODS else f"the method {_short(name)} of a tensor, which is not known"


def _attribute(config: Mapping[str, Any]) -> str | None:
    name = config.get("attr_name")
    return None if name in names.ATTRIBUTES else f"the attribute {_short(name)} of a tensor, which is not known"


def _graph_operation(config: Mapping[str, Any]) -> str | None:
    node = config.get("node_def")
    name = node.get("op") if isinstance(node, Mapping) else None
    return None if name in names.GRAPH_OPERATIONS else f"TensorFlow's operation {_short(name)}, which is not known"


RULES: Mapping[str, Callable[[Mapping[str, Any]], str | None]] = {
    "TFOpLambda": _tf_function,
    "SlicingOpLambda": _tf_function,
    "ClassMethod": _class_method,
    "InstanceMethod": _method,
    "InstanceProperty": _attribute,
    "TensorFlowOpLayer": _graph_operation,
}


def _short(name: Any) -> str:
    return repr(name)[:80]
