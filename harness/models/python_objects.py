"""Models that Python hands over as objects: Keras models, SavedModels that were loaded, functions. And their weights."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from harness.data import Feature
from harness.errors import ModelError
from harness.exact.array_bytes import array_bytes
from harness.models.factory import from_function, output_specs
from harness.models.keras_file import from_keras, keras_of
from harness.models.model import Model
from harness.models.saved_model import from_loaded
from harness.ranks.comm import Comm

__all__ = ["describe", "digest", "from_object", "of_rank_0", "weights"]


def from_object(given: Any, inputs: Mapping[str, Feature]) -> Model:
    """Take a model.

    Args:
      given: a Keras model, an object with signatures, a tf.function with an input signature, or any function of tensors:
        of one tensor [B, ...] where there is one input, of a dict of them by feature name where there are several.
      inputs: the features that such a function takes.
    Raises: ModelError: it is none of these, or cannot be traced.
    """
    where = describe(given)
    if keras_of(given) and getattr(given, "inputs", None):
        return from_keras(where, given)
    if hasattr(given, "signatures"):
        return from_loaded(where, given, "serving_default")
    if getattr(given, "input_signature", None) is not None and hasattr(given, "get_concrete_function"):
        return from_function(where, given)
    if not callable(given):
        raise ModelError(f"model: expected a Keras model, a loaded SavedModel, a function or a path, found a {where}")
    called = functools.partial(given, training=False) if keras_of(given) else given
    return _from_callable(where, called, inputs)


def describe(given: Any) -> str:
    """Say in a few words what it is.

    >>> describe(lambda x: x)
    "function '<lambda>'"
    """
    name = getattr(given, "__name__", None) or getattr(given, "name", None)
    return f"{type(given).__name__}{f' {name!r}' if isinstance(name, str) else ''}"


def _from_callable(where: str, called: Callable[..., Any], inputs: Mapping[str, Feature]) -> Model:
    """Trace a function on what the data has, to learn its outputs."""
    specs = {
        name: tf.TensorSpec([None, *feature.shape], tf.string if feature.dtype == "string" else feature.dtype)
        for name, feature in inputs.items()
    }
    single = next(iter(specs)) if len(specs) == 1 else None
    plain = getattr(called, "__name__", "") == "<lambda>"  # an expression: nothing in it has to be rewritten
    body = tf.autograph.experimental.do_not_convert(called) if plain else called
    traced = tf.function(lambda tensors: body(tensors[single] if single is not None else tensors), autograph=not plain)
    try:
        found = traced.get_concrete_function(specs).structured_outputs
    except Exception as exc:
        took = f"a tensor {specs[single]}" if single is not None else f"a dict of {', '.join(specs)}"
        reason = " ".join(str(exc).split())[:600]
        raise ModelError(f"{where}: cannot be called with {took}: {type(exc).__name__}: {reason}") from exc

    def by_name(outputs: Any) -> Mapping[str, Any]:
        if isinstance(outputs, Mapping):
            return outputs
        if isinstance(outputs, list | tuple):
            return {f"output_{number}": output for number, output in enumerate(outputs)}
        return {"output": outputs}

    return Model(where, specs, output_specs(where, by_name(found)), lambda tensors: by_name(traced(dict(tensors))), "function")


def weights(given: Any) -> list[Any]:
    """Return the variables that predictions depend on, as far as the object tells; the states of random layers are none."""
    found = getattr(given, "weights", None) if keras_of(given) else getattr(given, "variables", None)
    return [getattr(variable, "value", variable) if keras_of(given) else variable for variable in found or ()]


@contextlib.contextmanager
def of_rank_0(comm: Comm, variables: Sequence[Any]) -> Iterator[list[str]]:
    """Give every rank the weights of rank 0 for a while. A collective where it begins.

    Ranks that were trained together hold the same weights, but for what each computes on its own, such as the moving
    averages of batch normalization. What rank 0 holds is what it saves.

    Returns: what differed, by rank.
    """
    if comm.size == 1:
        yield []
        return
    mine = [_mark(variable) for variable in variables]
    marks: list[list[str]] = [pickle.loads(raw) for raw in comm.gather(pickle.dumps(mine))]
    lengths = {len(each) for each in marks}
    if len(lengths) > 1:
        raise ModelError(
            f"the ranks hold models of {', '.join(str(len(each)) for each in marks)} variables; all need the same one"
        )
    apart = [number for number, each in enumerate(zip(*marks, strict=True)) if len(set(each)) > 1]
    said = []
    if apart:
        ranks = [rank for rank, each in enumerate(marks) if each != marks[0]]
        name = getattr(variables[apart[0]], "path", variables[apart[0]].name)
        said.append(
            f"the weights differ between ranks: {len(apart)} of {len(variables)} variables, {name} the first, on rank "
            f"{', '.join(map(str, ranks))}; those of rank 0 were evaluated. That is expected of moving averages in batch "
            "normalization; otherwise the training is at fault: hvd.broadcast_variables(model.variables, root_rank=0) before it"
        )
    own = {number: variables[number].numpy() for number in apart}
    try:
        for number in apart:
            first = comm.broadcast(pickle.dumps(own[number]) if comm.rank == 0 else b"")
            if comm.rank:
                variables[number].assign(pickle.loads(first))
        yield said
    finally:
        if comm.rank:
            for number, value in own.items():
                variables[number].assign(value)


def digest(variables: Sequence[Any]) -> str:
    """Return the SHA-256 of weights, in their order."""
    return hashlib.sha256("".join(_mark(variable) for variable in variables).encode()).hexdigest()


def _mark(variable: Any) -> str:
    value = variable.numpy()  # of a scalar string its bytes
    array = np.ascontiguousarray(np.asarray(value, object) if isinstance(value, bytes) else value)
    return hashlib.sha256(f"{array.dtype}{array.shape}".encode() + array_bytes(array)).hexdigest()
