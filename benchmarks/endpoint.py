"""Requests to an endpoint: the harness's client against a bare loop with as many under way, on the same connection and batches.

The server takes a fixed time for each request, so the difference is the client's: queueing, checks of replies, accounts. The two
take turns within a round, every other round goes backwards, and ratios are formed within a round: other work on the machine is
in both.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from benchmarks.turns import forth_and_back, timed

__all__ = ["add_arguments", "answer", "measure"]

WIDTH, CLASSES = 784, 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked."""
    parser.add_argument("--delays-ms", nargs="+", type=float, default=[2.0, 10.0], help="that the server takes for a request")
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--requests", type=int, default=160, help="of a round, by each client")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=21)


def answer(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Measure each delay.

    Returns: raw values and a table.
    """
    lines = [
        f"A batch of {options.batch_size}, {options.concurrency} under way, {options.requests} requests a round, "
        f"{options.rounds} rounds. Ratios: their median, and the middle half of them.\n",
        "| the server takes | bare loop | harness | harness / bare | in processor time |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    measured = []
    for delay_ms in options.delays_ms:
        times = measure(delay_ms / 1e3, options)
        bare_s, own_s = (statistics.median(times["seconds"][name]) for name in ("bare", "harness"))
        shown = [_ratio(times[kind]) for kind in ("seconds", "processor_s")]
        lines.append(f"| {delay_ms:g} ms | {bare_s:.3f} s | {own_s:.3f} s | {' | '.join(shown)} |")
        measured.append({"delay_ms": delay_ms, **times})
    return {"measured": measured}, "\n".join(lines)


def _ratio(values: Mapping[str, Sequence[float]]) -> str:
    """Return the median of the ratios of rounds, and the middle half of them.

    >>> _ratio({"bare": [1.0, 1.0, 2.0], "harness": [1.0, 1.1, 2.4]})
    '1.100 (1.000 to 1.200)'
    """
    ratios = sorted(own / bare for own, bare in zip(values["harness"], values["bare"], strict=True))
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else 3 * ratios
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def measure(delay_s: float, options: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """Return seconds and processor seconds for all requests of a round, by client, a number a round; the two take turns."""
    command = [sys.executable, "-m", "benchmarks.endpoint_server", str(delay_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            batches = [np.random.default_rng(n).random([options.batch_size, WIDTH], np.float32) for n in range(16)]
            batches *= max(options.requests // len(batches), 1)
            clients = {"bare": _bare(port, options.concurrency), "harness": _harness(port, options.concurrency)}
            for run in clients.values():
                run(batches[:32])
            times: dict[str, dict[str, list[float]]] = {
                kind: {name: [] for name in clients} for kind in ("seconds", "processor_s")
            }
            for _, name in forth_and_back(list(clients), options.rounds):
                seconds, processor_s, _ = timed(partial(clients[name], batches))
                times["seconds"][name].append(seconds)
                times["processor_s"][name].append(processor_s)
            return times
        finally:
            server.terminate()


def _bare(port: int, concurrency: int) -> Callable[[Sequence[np.ndarray]], None]:
    """Return the loop that a user would write: a pool of threads over the stub."""
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(f"127.0.0.1:{port}"))
    pool = ThreadPoolExecutor(concurrency)

    def ask(batch: np.ndarray) -> np.ndarray:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "m"
        request.inputs["image"].CopyFrom(tf.make_tensor_proto(batch))
        scores: np.ndarray = tf.make_ndarray(stub.Predict(request, timeout=30).outputs["scores"])
        return scores

    def run(batches: Sequence[np.ndarray]) -> None:
        for scores in pool.map(ask, batches):
            if scores.shape != (len(batches[0]), CLASSES):
                raise RuntimeError(f"scores of shape {scores.shape}")

    return run


def _harness(port: int, concurrency: int) -> Callable[[Sequence[np.ndarray]], None]:
    """Return the same through the harness's client, with its window of batches."""
    from harness.data import Feature
    from harness.models.endpoint_client import EndpointClient, Policy
    from harness.models.reply_check import Expected
    from harness.models.served_model import Place, ServedModel, Service
    from harness.models.serving_grpc import ServingGrpc

    inputs, outputs = {"image": Feature("float32", (WIDTH,))}, {"scores": Feature("float32", (CLASSES,))}
    transport = ServingGrpc(f"grpc://127.0.0.1:{port}", "m", None, "serving_default")
    client = EndpointClient([transport], Expected(outputs, "1"), Policy(concurrency, 30.0, 60.0))
    served = ServedModel(client, inputs, outputs, Service("serving over gRPC", "1"))

    def run(batches: Sequence[np.ndarray]) -> None:
        under_way: list[Any] = []
        for number, batch in enumerate(batches):
            place = Place(number, np.arange(number * len(batch), (number + 1) * len(batch)), len(batch))
            under_way.append(served.submit({"image": batch}, place))
            if len(under_way) == 2 * concurrency:
                under_way.pop(0).result()
        for future in under_way:
            future.result()

    return run
