"""A call as TensorFlow's profiler saw it: which operations ran when, and which part of the work each belongs to."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from harness.watch.time_split import Part, Span

__all__ = ["SCOPES", "trace"]

# Scopes of the graph, by which operations are told apart.
SCOPES = {Part.PREDICTING: "predicting", Part.METRICS: "metrics"}
ASYNCHRONOUS = "ExecutorState::ProcessAsync::Start"  # has the operation's name among its own fields
WHOLE = "KernelAndDeviceFunc::Run"  # of the compiled function
DEVICE = "/device:"


def trace(call: Callable[[], Any]) -> tuple[Any, list[Span]]:
    """Call a function; return what it returned, and what ran meanwhile: nothing where somebody else is profiling."""
    options = tf.profiler.experimental.ProfilerOptions(
        host_tracer_level=3, python_tracer_level=0, device_tracer_level=1 if tf.config.get_visible_devices("GPU") else 0
    )
    with tempfile.TemporaryDirectory(prefix="harness-trace-") as folder:
        try:
            tf.profiler.experimental.start(folder, options)
        except tf.errors.OpError:
            return call(), []
        try:
            found = call()
        except BaseException:
            with contextlib.suppress(tf.errors.OpError):
                tf.profiler.experimental.stop(save=False)
            raise
        try:
            tf.profiler.experimental.stop()
            return found, [span for path in Path(folder).rglob("*.xplane.pb") for span in _spans(path.read_bytes())]
        except (tf.errors.OpError, OSError, ImportError):  # a trace is no reason to end a run
            return found, []


def _spans(data: bytes) -> Iterator[Span]:
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    for plane in xplane_pb2.XSpace.FromString(data).planes:
        names = {key: found.name for key, found in plane.event_metadata.items()}
        parts = {key: _part(name) for key, name in names.items()}
        waits = {key for key, name in names.items() if name == ASYNCHRONOUS}
        # Thousands of events are of no part: they are not looked at one by one.
        told = {key for key, name in names.items() if parts[key] or name == WHOLE} | waits
        # What a device computes is the model: terms are formed on the host.
        device = plane.name.startswith(DEVICE)
        for line in plane.lines:
            for event in line.events:
                key = event.metadata_id
                if key in told or device:
                    part = _named(event, plane) if key in waits else parts[key]
                    start = line.timestamp_ns * 1000 + event.offset_ps
                    yield Span(start, start + event.duration_ps, Part.PREDICTING if device else part)


def _part(name: str) -> Part | None:
    return next((part for part, scope in SCOPES.items() if re.search(f"(^|/){scope}/", name)), None)


def _named(event: Any, plane: Any) -> Part | None:
    for stat in event.stats:
        if plane.stat_metadata[stat.metadata_id].name == "name":
            return _part(stat.str_value or plane.stat_metadata[stat.ref_value].name)
    return None
