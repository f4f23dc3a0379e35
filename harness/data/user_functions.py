"""The user's own functions of features, `transform` and `filter`: loaded, called, and what they return checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, JobError, nearest
from harness.job.imports import load_object

__all__ = ["keep", "transform"]


def transform(target: str, folder: Path, features: Mapping[str, Any]) -> dict[str, Any]:
    """Build a transform into the graph.

    Args:
      target: package.module:function.
      folder: where it is looked for first.
      features: tensors [B, ...].
    Returns: the features that it makes of them, [B, ...].
    Raises: JobError: it cannot be loaded, fails, or returns something else.
    """
    import tensorflow as tf

    what = "data.transform"
    returned = _called(_load(target, folder, what), features, f"{what}: {target}")
    if not isinstance(returned, Mapping):
        raise JobError(f"{what}: {target} returned a {type(returned).__name__}, expected a dictionary of features")
    tensors = {name: tf.convert_to_tensor(value) for name, value in returned.items()}
    for name, tensor in tensors.items():
        if tensor.shape.rank is None or not tensor.shape.rank:
            raise JobError(f"{what}: {target}: feature '{name}' has shape {tensor.shape}, expected examples along the first")
    return tensors


def keep(target: str, folder: Path, features: Mapping[str, Any]) -> Any:
    """Build a filter into the graph; see `transform`.

    Returns: which examples are kept, bool [B].
    """
    import tensorflow as tf

    what = "data.filter"
    mask = tf.convert_to_tensor(_called(_load(target, folder, what), features, f"{what}: {target}"))
    if mask.dtype != tf.bool or mask.shape.rank != 1:
        raise JobError(f"{what}: {target} returned {mask.dtype.name} {list(mask.shape)}, expected bool [B]")
    return mask


def _load(target: str, folder: Path, what: str) -> Callable[[dict[str, Any]], Any]:
    import tensorflow as tf

    function = load_object(target, folder, what)
    if not callable(function):
        raise JobError(f"{what}: {target} is a {type(function).__name__}, expected a function")
    if not inspect.isfunction(function):
        return function
    try:
        # The user may write `if` and `for` over tensors; the pipeline around it is not converted, which takes long.
        return tf.autograph.to_graph(function)
    except Exception:  # noqa: BLE001 - its source is not to be had, or ambiguous: it may do as it is
        return function


def _called(function: Callable[[dict[str, Any]], Any], features: Mapping[str, Any], what: str) -> Any:
    try:
        return function(dict(features))
    except HarnessError:
        raise
    except Exception as exc:  # the user's own code raises what it likes
        reason = (
            f"no feature {exc}: {nearest(str(exc.args[0]), features)}" if isinstance(exc, KeyError) and exc.args else str(exc)
        )
        raise JobError(f"{what} fails: {type(exc).__name__}: {' '.join(reason.split())[:400]}") from exc
