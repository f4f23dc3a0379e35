"""The user's own functions of features, `transform` and `filter`: loaded, called, and what they return checked."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, JobError, nearest
from harness.job.imports import load_object
from harness.job.user_code import raised
from harness.names.verbosity import is_verbose

__all__ = ["keep", "transform"]

MISSING = re.compile(r"KeyError: '([^']*)'")


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
    # The user may write `if` and `for` over tensors; the pipeline around it is not converted, which takes long. Unlike what
    # `tf.autograph.to_graph` returns, this names the user's own lines in errors. What cannot be converted does as it is.
    from tensorflow.python.autograph.core import ag_ctx  # no public name says that conversion is on

    convert: Callable[..., Callable[[dict[str, Any]], Any]] = tf.__internal__.autograph.tf_convert
    return convert(function, ag_ctx.ControlStatusCtx(status=ag_ctx.Status.ENABLED))


def _called(function: Callable[[dict[str, Any]], Any], features: Mapping[str, Any], what: str) -> Any:
    try:
        with _without_warnings():
            return function(dict(features))
    except HarnessError:
        raise
    except Exception as exc:  # the user's own code raises what it likes
        text = raised(exc)
        missing = MISSING.match(text)
        if missing and missing[1] not in features:
            text = f"{missing[0]}: no such feature; {nearest(missing[1], features)}{text[missing.end() :]}"
        raise JobError(f"{what} fails: {text}") from exc


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Have AutoGraph leave out that it cannot read a function, and takes it as it is: where that fails, the error says so."""
    import tensorflow as tf

    logger = tf.get_logger()
    before = logger.level
    if not is_verbose():
        logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(before)
