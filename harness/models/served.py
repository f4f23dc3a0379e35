"""What an endpoint serves, as the harness sees it, and the seam to the protocols: pure but for the types. Knows no transport.

A `Transport` speaks one protocol with one address. Whatever goes wrong there it raises as `CallFailed`, which says whether to
try again; nobody above it knows of gRPC or HTTP.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Protocol

import numpy as np

from harness.data import Feature

__all__ = [
    "UNKNOWN",
    "UNVERSIONED",
    "CallFailed",
    "Question",
    "Reply",
    "ServedSignature",
    "Silence",
    "Transport",
    "dtype_of",
    "feature_text",
]

UNVERSIONED = "unversioned"  # of a server that has no versions
UNKNOWN = "unknown"  # of a reply that does not say which version answered


@dataclass(frozen=True)
class ServedSignature:
    """What a server says of a model.

    Attributes:
      version: that answers now.
      inputs, outputs: dtype and shape of one example, by name; None where a size is not said.
      rows: examples that it takes at a time; None is any number.
    """

    version: str
    inputs: Mapping[str, Feature]
    outputs: Mapping[str, Feature]
    rows: int | None = None

    def digest(self, name: str, version: str) -> str:
        """Return the SHA-256 of what a model behind an endpoint is known by; where it is served is no part of it.

        Args:
          name: of the model, as the job has it.
          version: that answers, or "any".

        >>> one = ServedSignature("3", {"x": Feature("float32", (4,))}, {"y": Feature("float32", ())})
        >>> one.digest("m", "3") == one.digest("m", "3"), one.digest("m", "3") == one.digest("m", "4")
        (True, False)
        """
        tensors = [[[key, tensor.dtype, list(tensor.shape)] for key, tensor in sorted(side.items())] for side in self._sides]
        return hashlib.sha256(json.dumps([name, version, tensors]).encode()).hexdigest()

    @property
    def _sides(self) -> tuple[Mapping[str, Feature], Mapping[str, Feature]]:
        return self.inputs, self.outputs


class Silence(Enum):
    """What it comes to when a request has no reply for as long as it is tried.

    INTERRUPTS: all requests end; the run can be resumed.
    ENDS_ALL: all requests end.
    FAILS_ALONE: this one has failed, and the others go on.
    """

    INTERRUPTS = auto()
    ENDS_ALL = auto()
    FAILS_ALONE = auto()


@dataclass(frozen=True)
class Question:
    """One request.

    Attributes:
      tensors: of each input, [rows, ...].
      label: names the request, as in "chunk 3, examples 192..256".
      silence: what it comes to when there is no reply.
    """

    tensors: Mapping[str, np.ndarray]
    label: str
    silence: Silence = Silence.ENDS_ALL


@dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes:
      outputs: by name, as the server gave them.
      version: that answered; None where the protocol does not say.
      label: of the request that it answers; None where the protocol does not say.
    """

    outputs: Mapping[str, np.ndarray]
    version: str | None = None
    label: str | None = None


class CallFailed(Exception):
    """A call gave nothing that counts.

    Args:
      kind: in a word, as UNAVAILABLE or 503.
      text: what the other side said.
      again: whether another try may succeed.
      after_s: how long the server asks to be left alone.
    """

    def __init__(self, kind: str, text: str, *, again: bool = False, after_s: float = 0.0) -> None:
        super().__init__(f"{kind}: {text}" if text else kind)
        self.kind = kind
        self.again = again
        self.after_s = after_s


class Transport(Protocol):
    """Speaks one protocol with one address, for several threads."""

    protocol: str
    address: str  # as it is shown: host and port

    def signature(self) -> ServedSignature:
        """Ask the server what it takes and gives.

        Raises: CallFailed: it does not say, or has no such model.
        """

    def predict(self, question: Question, deadline_s: float) -> Reply:
        """Ask once, and wait for the reply.

        Raises: CallFailed: there is none in time, or none that can be read.
        """

    def hide(self, text: str) -> str:
        """Take secrets out of a text: what it is sent, the server may repeat."""

    def close(self) -> None:
        """Close the connections."""


def dtype_of(array: np.ndarray) -> str:
    """Return the dtype of an array by the name that TensorFlow has for it.

    >>> dtype_of(np.zeros(1, np.float32)), dtype_of(np.array([b"a"], object))
    ('float32', 'string')
    """
    return "string" if array.dtype.kind in "OSU" else array.dtype.name


def feature_text(dtype: str, shape: Any) -> str:
    """Write dtype and shape.

    >>> feature_text("float32", (None, 3))
    'float32 [?, 3]'
    """
    return f"{dtype} [{', '.join('?' if size is None else str(size) for size in shape)}]"
