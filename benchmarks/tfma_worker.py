"""TensorFlow Model Analysis on a SavedModel and TFRecord files; runs in an environment of its own, and imports nothing of ours.

python tfma_worker.py MODEL FILES OUT.json
"""

import json
import sys
import time

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2


def metric(name, **config):
    """Describe one metric."""
    return config_pb2.MetricConfig(class_name=name, config=json.dumps(config) if config else "")


def main(model, files, out):
    """Evaluate once, and write seconds and values."""
    # Precision, recall and F1 of one class each are what it has; the harness's averages cost more.
    of_class = {"class_id": 1}
    metrics = [
        metric("SparseCategoricalAccuracy"),
        metric("SparseTopKCategoricalAccuracy", k=3),
        metric("SparseCategoricalCrossentropy"),
        metric("Precision", **of_class),
        metric("Recall", **of_class),
        metric("MultiClassConfusionMatrixPlot"),
        metric("ExampleCount"),
    ]
    config = config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec(signature_name="serving_default", label_key="label")],
        slicing_specs=[config_pb2.SlicingSpec(), config_pb2.SlicingSpec(feature_keys=["label"])],
        metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)],
    )
    shared = tfma.default_eval_shared_model(eval_saved_model_path=model, eval_config=config)
    start = time.monotonic()
    found = tfma.run_model_analysis(eval_shared_model=shared, eval_config=config, data_location=files)
    elapsed_s = time.monotonic() - start
    whole = next(by_name for key, by_name in found.slicing_metrics if not key)
    values = {}
    for by_class in whole[""].values():
        for name, value in by_class.items():
            if "doubleValue" in value:
                values[name] = value["doubleValue"]
    with open(out, "w") as stream:
        json.dump({"seconds": elapsed_s, "values": values}, stream)


if __name__ == "__main__":
    main(*sys.argv[1:])
