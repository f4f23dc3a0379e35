"""Whether a reply is one to the request: names, dtypes, shapes, the rows in their order, the version. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.data import Feature
from harness.errors import EndpointError, InvalidRun, nearest
from harness.models.served import Question, Reply, dtype_of, feature_text
from harness.names.texts import shortened

__all__ = ["Expected", "check_reply"]


@dataclass(frozen=True)
class Expected:
    """What replies have to be like.

    Attributes:
      outputs: by name; of one example.
      version: that has to answer; None is any.
      echo: input and output that hold the example's id, int64; None where the model passes none through.
    """

    outputs: Mapping[str, Feature]
    version: str | None
    echo: tuple[str, str] | None = None


def check_reply(reply: Reply, question: Question, expected: Expected) -> None:
    """Compare a reply with what was asked.

    Raises: EndpointError: other outputs, dtypes or shapes. InvalidRun: of another version, to another request, or its rows
      are in another order.
    """
    where = question.label
    if expected.version is not None and reply.version is not None and reply.version != expected.version:
        raise InvalidRun(
            f"INVALID, no result was written: {where}: version {reply.version} answered, and the run began with version "
            f"{expected.version}; wait until the server is at rest and begin anew, name a version, or say version: any"
        )
    if reply.label is not None and reply.label != where:
        raise InvalidRun(
            f"INVALID, no result was written: {where}: a reply came that names another request "
            f"({shortened(reply.label, 60)}): what stands between here and the server mixes up replies"
        )
    rows = len(next(iter(question.tensors.values())))
    for name in reply.outputs:
        if name not in expected.outputs:
            raise EndpointError(f"{where}: the reply has an output '{name}': {nearest(name, expected.outputs)}")
    for name, feature in expected.outputs.items():
        if name not in reply.outputs:
            raise EndpointError(f"{where}: the reply has no output '{name}': it has {', '.join(sorted(reply.outputs)) or 'none'}")
        array, shape = reply.outputs[name], (rows, *feature.shape)
        fits = array.ndim == len(shape) and all(size in (None, own) for size, own in zip(shape, array.shape, strict=True))
        if dtype_of(array) != feature.dtype or not fits:
            raise EndpointError(
                f"{where}: output '{name}': expected {feature_text(feature.dtype, shape)}, found "
                f"{feature_text(dtype_of(array), array.shape)}"
            )
    if expected.echo is not None:
        _check_echo(question.tensors[expected.echo[0]], reply.outputs[expected.echo[1]], where)


def _check_echo(sent: np.ndarray, back: np.ndarray, where: str) -> None:
    """Compare the ids that were sent with those that came back.

    Raises: InvalidRun: they differ.
    """
    sent = sent.ravel()
    back = back.ravel()
    if back.shape == sent.shape and (back == sent).all():
        return
    same = back.shape == sent.shape and (np.sort(back) == np.sort(sent)).all()
    problem = "its rows came back in another order" if same else "its rows are those of other examples"
    row = int(np.argmax(back != sent)) if back.shape == sent.shape else 0
    raise InvalidRun(
        f"INVALID, no result was written: {where}: {problem}: row {row} was sent id {sent[row]} and came back with "
        f"{back[row] if back.size > row else 'none'}"
    )
