"""MLPerf LoadGen drives the harness's model, as the system under test: scenarios Offline and SingleStream.

Offline gives all queries at once, and they are predicted in batches; SingleStream gives one at a time, and latency is what
counts. What is predicted is what an evaluation predicts: the same loaded model, the same compiled function, the batch
padded to its shape. LoadGen's own summary is read for the figures (the `mlcommons-loadgen` wheel, extra bench).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import CASES, METRICS, write
from benchmarks.environment import CORES

__all__ = ["SCENARIOS", "Scenario", "add_arguments", "answer", "measure", "table"]

SCENARIOS = ("Offline", "SingleStream")
FIGURES = {
    "Offline": {"Samples per second": "samples_per_s"},
    "SingleStream": {
        "50.00 percentile latency (ns)": "p50_ns",
        "90.00 percentile latency (ns)": "p90_ns",
        "99.00 percentile latency (ns)": "p99_ns",
    },
}


@dataclass(frozen=True)
class Scenario:
    """What LoadGen says of one scenario."""

    case: str
    name: str
    valid: bool
    figures: dict[str, float]

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return asdict(self)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked."""
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["dense-784-512-10", "convnet"])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each scenario, at least")
    parser.add_argument("--threads", type=int, default=CORES)


def answer(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Measure the cases in every scenario.

    Returns: raw values and a table.
    """
    from harness.step import tensorflow as tf_setup

    tf_setup.set_up(0, options.threads, 0)
    found = []
    for case in options.cases:
        found += measure(case, options.folder, seconds=options.seconds)
    return {"scenarios": [one.document() for one in found]}, table(found)


def measure(case: str, folder: Path, *, seconds: float) -> list[Scenario]:
    """Drive one case through both scenarios; TensorFlow has been set up."""
    import mlperf_loadgen as lg
    import tensorflow as tf

    from harness.job.job import Job
    from harness.metrics import make
    from harness.prepare.opened import open_data
    from harness.prepare.prepare import predictor, prepare_model

    write(CASES[case], folder)
    saved, _, data = CASES[case].files(folder)
    keys = {"files": str(data), "inputs": {"image": "image"}, "label": "label"}
    job = Job.from_dict({"model": str(saved), "data": keys, "metrics": METRICS, "batch_size": CASES[case].batch_size})
    opened = open_data(job)
    prepared = prepare_model(job, make(job.metrics), opened)
    predict = tf.function(predictor(prepared.model, prepared.matched), autograph=False)
    with np.load(data) as archive:
        images = archive["image"]

    def answer(queries: Sequence[Any], size: int) -> None:
        for at in range(0, len(queries), size):
            some = queries[at : at + size]
            places = np.array([query.index for query in some])
            padded = np.concatenate([places, np.repeat(places[:1], size - len(places))])
            outputs = predict({"image": tf.constant(images[padded])})
            for output in outputs.values():
                output.numpy()
            lg.QuerySamplesComplete([lg.QuerySampleResponse(query.id, 0, 0) for query in some])

    found = []
    for name in SCENARIOS:
        # At one row matrix products take another path; the harness never predicts fewer than two.
        size = job.batch_size if name == "Offline" else 2
        predict({"image": tf.constant(images[:size])})
        place = folder / "loadgen" / name
        place.mkdir(parents=True, exist_ok=True)
        settings = lg.TestSettings()
        settings.scenario = getattr(lg.TestScenario, name)
        settings.mode = lg.TestMode.PerformanceOnly
        settings.min_duration_ms = int(1000 * seconds)
        settings.min_query_count = 100 if name == "SingleStream" else 1
        if name == "Offline":
            # LoadGen makes as many queries as this rate asks for; a run that ends before its time is not valid.
            settings.offline_expected_qps = 1.5 * _rate(predict, images[:size])
        logs = lg.LogSettings()
        logs.log_output.outdir = str(place)
        logs.log_output.copy_summary_to_stdout = False
        library = lg.ConstructQSL(len(images), len(images), lambda _: None, lambda _: None)
        system = lg.ConstructSUT(lambda queries, size=size: answer(queries, size), lambda: None)
        lg.StartTestWithLogSettings(system, library, settings, logs)
        lg.DestroySUT(system)
        lg.DestroyQSL(library)
        found.append(_read(case, name, (place / "mlperf_log_summary.txt").read_text()))
    return found


def _rate(predict: Any, images: np.ndarray) -> float:
    """Return examples per second of the fastest of some batches."""
    import tensorflow as tf

    elapsed_s = []
    for _ in range(10):
        start = time.perf_counter()
        for output in predict({"image": tf.constant(images)}).values():
            output.numpy()
        elapsed_s.append(time.perf_counter() - start)
    return len(images) / min(elapsed_s)


def _read(case: str, name: str, summary: str) -> Scenario:
    """Read LoadGen's summary."""
    lines = dict(line.split(":", 1) for line in summary.splitlines() if ":" in line)
    lines = {key.strip(): value.strip() for key, value in lines.items()}
    return Scenario(
        case, name, lines["Result is"] == "VALID", {figure: float(lines[text]) for text, figure in FIGURES[name].items()}
    )


def table(found: Sequence[Scenario]) -> str:
    """Write the figures as lines of a Markdown table."""
    lines = ["| case | scenario | LoadGen says | figures |", "| --- | --- | --- | --- |"]
    for one in found:
        figures = ", ".join(
            f"{name.removesuffix('_ns')} {value / 1e6:.3f} ms" if name.endswith("_ns") else f"{value:,.0f} samples/s"
            for name, value in one.figures.items()
        )
        lines.append(f"| {one.case} | {one.name} | {'valid' if one.valid else 'not valid'} | {figures} |")
    return "\n".join(lines)
