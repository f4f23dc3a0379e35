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


def from_object(candidate: Any, inputs: Mapping[str, Feature]) -> Model:
    """Take a model.

    Args:
      candidate: a Keras model, an object with signatures, a tf.function with an input signature, or any function of tensors:
        of one tensor [B, ...] where there is one input, of a dict of them by feature name where there are several.
      inputs: the features that such a function takes.
    Raises: ModelError: it is none of these, or cannot be traced.
    """
    where = describe(candidate)
    if keras_of(candidate) and getattr(candidate, "inputs", None):
        return from_keras(where, candidate)
    if hasattr(candidate, "signatures"):
        return from_loaded(where, candidate, "serving_default")
    if getattr(candidate, "input_signature", None) is not None and hasattr(candidate, "get_concrete_function"):
        return from_function(where, candidate)
    if not callable(candidate):
        raise ModelError(f"model: expected a Keras model, a loaded SavedModel, a function or a path, found a {where}")
    called = functools.partial(candidate, training=False) if keras_of(candidate) else candidate
    return _from_callable(where, called, inputs)


def describe(candidate: Any) -> str:
    """Say in a few words what it is.

    >>> describe(lambda x: x)
    "function '<lambda>'"
    """
    name = getattr(candidate, "__name__", None) or getattr(candidate, "name", None)
    return f"{type(candidate).__name__}{f' {name!r}' if isinstance(name, str) else ''}"


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
        outputs = traced.get_concrete_function(specs).structured_outputs
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

    return Model(where, specs, output_specs(where, by_name(outputs)), lambda tensors: by_name(traced(dict(tensors))), "function")


def weights(candidate: Any) -> list[Any]:
    """Return the variables that predictions depend on, as far as the object tells; the states of random layers are none."""
    variables = getattr(candidate, "weights", None) if keras_of(candidate) else getattr(candidate, "variables", None)
    return [getattr(variable, "value", variable) if keras_of(candidate) else variable for variable in variables or ()]


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
    local_digests = [_digest(variable) for variable in variables]
    digests: list[list[str]] = [pickle.loads(raw) for raw in comm.gather(pickle.dumps(local_digests))]  # by rank
    lengths = {len(of_rank) for of_rank in digests}
    if len(lengths) > 1:
        raise ModelError(
            f"the ranks hold models of {', '.join(str(len(of_rank)) for of_rank in digests)} variables; all need the same one"
        )
    apart = [number for number, of_variable in enumerate(zip(*digests, strict=True)) if len(set(of_variable)) > 1]
    differences = []
    if apart:
        ranks = [rank for rank, of_rank in enumerate(digests) if of_rank != digests[0]]
        name = getattr(variables[apart[0]], "path", variables[apart[0]].name)
        differences.append(
            f"the weights differ between ranks: {len(apart)} of {len(variables)} variables, {name} the first, on rank "
            f"{', '.join(map(str, ranks))}; those of rank 0 were evaluated. That is expected of moving averages in batch "
            "normalization; otherwise the training is at fault: hvd.broadcast_variables(model.variables, root_rank=0) before it"
        )
    local_values = {number: variables[number].numpy() for number in apart}
    try:
        for number in apart:
            first = comm.broadcast(pickle.dumps(local_values[number]) if comm.rank == 0 else b"")
            if comm.rank:
                variables[number].assign(pickle.loads(first))
        yield differences
    finally:
        if comm.rank:
            for number, value in local_values.items():
                variables[number].assign(value)


def digest(variables: Sequence[Any]) -> str:
    """Return the SHA-256 of weights, in their order."""
    return hashlib.sha256("".join(_digest(variable) for variable in variables).encode()).hexdigest()


def _digest(variable: Any) -> str:
    value = variable.numpy()  # of a scalar string its bytes
    array = np.ascontiguousarray(np.asarray(value, object) if isinstance(value, bytes) else value)
    return hashlib.sha256(f"{array.dtype}{array.shape}".encode() + array_bytes(array)).hexdigest()
