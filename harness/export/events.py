"""TensorBoard's events: what it reads of numbers, PR curves, pictures and hyperparameters, and the files that hold them.

Made of TensorBoard's own messages; TensorFlow is not loaded. Loads tensorboard.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_DOUBLE, DT_FLOAT
from tensorboard.plugins.hparams import metadata as hparams
from tensorboard.plugins.hparams.api_pb2 import STATUS_SUCCESS
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.plugins.pr_curve import metadata as pr_curve

from harness.data.tfrecord_framing import frame
from harness.export.numbers import utf8
from harness.metrics.plots import Thresholds

__all__ = ["EventFile", "file_of_events", "hyperparameters", "picture", "precision_recall", "scalars"]

FILE_VERSION = "brain.Event:2"
EXACT = "exact/"  # stands before the name of a number that is kept as float64
EXACT_PLUGIN = "harness_exact"  # no dashboard shows it
THRESHOLDS = 201  # of a PR curve, as TensorBoard makes them
VALUES_OF_AN_EVENT = 1000


class EventFile:
    """A file of events that grows while a model is trained; see `file_of_events`.

    Args:
      folder: TensorBoard calls it a run. It is made.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        name = f"events.out.tfevents.{int(now):010d}.{os.uname().nodename}.{os.getpid()}.{time.monotonic_ns()}.exact"
        self._path = folder / name
        self._append([_event_bytes(now, file_version=FILE_VERSION)])

    def add(self, numbers: Mapping[str, float], step: int) -> None:
        """Add numbers at a step, as scalars and exactly."""
        self._append(_event_bytes(time.time(), step, values) for values in _chunked(scalars(numbers)))

    def _append(self, records: Iterable[bytes]) -> None:
        with self._path.open("ab") as stream:
            stream.write(b"".join(records))


def _event_bytes(wall_time_s: float, step: int = 0, values: Sequence[Any] = (), *, file_version: str = "") -> bytes:
    """Return an event as a record of a file of events; the first of a file says its version."""
    if file_version:
        return frame(Event(wall_time=wall_time_s, file_version=file_version).SerializeToString())
    event = Event(wall_time=wall_time_s, step=step, summary=Summary(value=values))
    return frame(event.SerializeToString(deterministic=True))


def file_of_events(wall_time_s: float, step: int, values: Sequence[Any]) -> bytes:
    """Return a whole file: the same values give the same bytes."""
    events = (_event_bytes(wall_time_s, step, chunk) for chunk in _chunked(values))
    return b"".join([_event_bytes(wall_time_s, file_version=FILE_VERSION), *events])


def scalars(numbers: Mapping[str, float]) -> list[Any]:
    """Return numbers as TensorBoard shows them, in float32, and each again in float64 under `exact/`.

    What float32 does not hold is infinite or 0 there.
    """
    values = []
    for name, number in numbers.items():
        with np.errstate(over="ignore", under="ignore"):
            shown = float(np.float32(number))
        exact = TensorProto(dtype=DT_DOUBLE, tensor_shape=TensorShapeProto(), double_val=[number])
        values.append(Summary.Value(tag=name, simple_value=shown))
        values.append(Summary.Value(tag=f"{EXACT}{name}", tensor=exact, metadata=_of_plugin(EXACT_PLUGIN)))
    return values


def precision_recall(name: str, title: str, plot: Thresholds) -> Any:
    """Return the PR curve of counts at thresholds.

    TensorBoard has its own thresholds, 201 from 0 to 1: at each the counts are those of the next that was counted.
    """
    counted, positives, negatives = (np.array(column, np.float64) for column in zip(*plot.points, strict=True))
    place = np.searchsorted(counted, np.linspace(0, 1, THRESHOLDS), side="left")
    true, false = (np.append(column, 0.0)[place] for column in (positives, negatives))
    called, right = true + false, max(plot.positive, np.finfo(np.float64).tiny)
    precision = np.divide(true, called, out=np.zeros_like(true), where=called > 0)
    rows = np.stack([true, false, plot.negative - false, plot.positive - true, precision, true / right]).astype(np.float32)
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in rows.shape])
    tensor = TensorProto(dtype=DT_FLOAT, tensor_shape=shape, tensor_content=rows.astype("<f4").tobytes())
    return Summary.Value(tag=name, tensor=tensor, metadata=pr_curve.create_summary_metadata(title, "", THRESHOLDS))


def picture(name: str, png: bytes, width: int, height: int) -> Any:
    """Return a picture."""
    return Summary.Value(tag=name, image=Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=png))


def hyperparameters(params: Mapping[str, str], group: str, started_s: float) -> list[Any]:
    """Return what the dashboard of hyperparameters reads of a run that is done."""
    start = SessionStartInfo(group_name=group, start_time_secs=started_s)
    for name, value in params.items():
        _set(start.hparams[utf8(name)], value)
    end = SessionEndInfo(status=STATUS_SUCCESS, end_time_secs=started_s)
    infos = {
        hparams.SESSION_START_INFO_TAG: HParamsPluginData(session_start_info=start),
        hparams.SESSION_END_INFO_TAG: HParamsPluginData(session_end_info=end),
    }
    return [
        Summary.Value(tag=tag, tensor=hparams.NULL_TENSOR, metadata=_deterministic(hparams.create_summary_metadata(info)))
        for tag, info in infos.items()
    ]


def _deterministic(metadata: Any) -> Any:
    """Return metadata whose content has its maps in order, so that the same run gives the same bytes."""
    content = HParamsPluginData.FromString(metadata.plugin_data.content)
    metadata.plugin_data.content = content.SerializeToString(deterministic=True)
    return metadata


def _set(field: Any, value: str) -> None:
    """Set a hyperparameter: a number or a truth value as such, so that the dashboard can sort and filter by it."""
    if value in ("true", "false"):
        field.bool_value = value == "true"
        return
    try:
        number = float(value)
    except ValueError:
        field.string_value = utf8(value)
        return
    if np.isfinite(number) and value.strip() == value:
        field.number_value = number
    else:
        field.string_value = value


def _of_plugin(name: str) -> Any:
    return SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=name))


def _chunked(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), VALUES_OF_AN_EVENT):
        yield values[start : start + VALUES_OF_AN_EVENT]
