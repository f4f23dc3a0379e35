"""The system under test of MLPerf LoadGen: a model that predicts as an evaluation does, and the queries that LoadGen sends it.

What is predicted is what an evaluation predicts: the same loaded model, the same compiled function, batches padded to the
same shape. LoadGen and TensorFlow are loaded when they are needed.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.bench.loadgen import Asked, Scenario, ScenarioName, read_summary
from harness.bench.loadgen_run import LoadgenTest, load_loadgen, read_log
from harness.errors import RunFolderError

__all__ = ["System", "accuracy", "drive", "peak_rate"]

LEAST = 2  # examples that are predicted at once: at one, products of matrices take another way


class System:
    """A model and the examples that are asked for.

    Args:
      predict: from features [B, ...] to outputs [B, ...], by name.
      features: of all examples, arrays [N, ...] by name.
      batch_size: of Offline and Server, at most.
    """

    def __init__(
        self, predict: Callable[[Mapping[str, Any]], Mapping[str, Any]], features: Mapping[str, np.ndarray], batch_size: int
    ) -> None:
        self.features, self.batch_size = features, batch_size
        self._predict = predict

    def __len__(self) -> int:
        return len(next(iter(self.features.values())))

    def size(self, name: ScenarioName) -> int:
        """Return how many examples are predicted at once where queries come one after the other, or all at once."""
        return {ScenarioName.SINGLE_STREAM: LEAST, ScenarioName.MULTI_STREAM: 8}.get(name, self.batch_size)

    def outputs(self, places: np.ndarray, size: int) -> list[np.ndarray]:
        """Predict some examples, int64 [n], as one batch padded to `size`; return each output, [n, ...]."""
        import tensorflow as tf

        padded = np.concatenate([places, np.repeat(places[:1], size - len(places))])
        tensors = self._predict({name: tf.constant(array[padded]) for name, array in self.features.items()})
        return [tensor.numpy()[: len(places)] for tensor in tensors.values()]

    def answer(self, queries: Sequence[Any], size: int) -> None:
        """Predict what LoadGen asks for, up to `size` at a time, and give it the predicted classes."""
        lg = load_loadgen()
        for at in range(0, len(queries), size):
            batch = queries[at : at + size]
            scores = self.outputs(np.array([query.index for query in batch]), size)[0]
            classes = np.ascontiguousarray(scores.reshape(len(batch), -1).argmax(axis=1).astype("<i4"))
            address, width = classes.ctypes.data, classes.itemsize
            lg.QuerySamplesComplete(
                [lg.QuerySampleResponse(query.id, address + width * i, width) for i, query in enumerate(batch)]
            )


class _Worker:
    """Answers queries of Server on a thread of its own: those that have come meanwhile make one batch."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._waiting: queue.Queue[Any] = queue.Queue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def issue(self, queries: Sequence[Any]) -> None:
        """Take queries."""
        for query in queries:
            self._waiting.put(query)

    def end(self) -> None:
        """Wait until all is answered."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (query := self._waiting.get()) is not None:
            batch = [query]
            while len(batch) < self._system.batch_size:
                try:
                    batch.append(self._waiting.get_nowait())
                except queue.Empty:
                    break
            ended = batch[-1] is None
            batch = [query for query in batch if query is not None]
            self._system.answer(batch, LEAST if len(batch) <= LEAST else self._system.batch_size)
            if ended:
                return


def peak_rate(system: System, size: int, batches: int = 20) -> float:
    """Return how many batches of a size are predicted in a second, by the fastest of some."""
    places = np.arange(size) % len(system)
    seconds = []
    for _ in range(batches):
        start = time.perf_counter()
        system.outputs(places, size)
        seconds.append(time.perf_counter() - start)
    return 1 / min(seconds)


def drive(system: System, asked: Asked, folder: Path) -> Scenario:
    """Have LoadGen run a scenario; its logs lie in a folder of the scenario's name.

    Raises: UsageError: LoadGen is not installed. RunFolderError: its summary cannot be read.
    """
    logs = folder / str(asked.name)
    _run(system, asked, logs)
    return read_summary(asked, read_log(logs, "mlperf_log_summary.txt"))


def accuracy(system: System, labels: np.ndarray, folder: Path) -> float:
    """Have LoadGen ask for every example once; return the share whose predicted class is its label, int64 [N].

    Raises: RunFolderError: LoadGen's log does not hold every example once.
    """
    logs = folder / "accuracy"
    _run(system, Asked(ScenarioName.OFFLINE, 0.001, 1.0), logs, is_accuracy=True)
    answers = json.loads(read_log(logs, "mlperf_log_accuracy.json"))
    places = np.array([answer["qsl_idx"] for answer in answers], np.int64)
    if sorted(places.tolist()) != list(range(len(system))):
        raise RunFolderError(f"{logs}: expected every one of {len(system):,} examples once, found {len(places):,} answers")
    classes = np.array([int.from_bytes(bytes.fromhex(answer["data"]), "little") for answer in answers], np.int64)
    return int((classes == labels[places]).sum()) / len(system)


def _run(system: System, asked: Asked, logs: Path, *, is_accuracy: bool = False) -> None:
    size = system.size(asked.name)
    for compiled in {LEAST, size, system.batch_size}:
        system.outputs(np.arange(min(compiled, len(system))), compiled)  # compiled before the clock starts
    test = LoadgenTest(str(asked.name), asked.settings(), len(system), logs, is_accuracy)
    worker = _Worker(system) if asked.name is ScenarioName.SERVER else None
    try:
        test.run(worker.issue if worker else lambda queries: system.answer(queries, size))
    finally:
        if worker:
            worker.end()
