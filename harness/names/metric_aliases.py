"""Short names of metrics, as people write them, and the names under which they are registered and reported."""

from __future__ import annotations

__all__ = ["METRIC_ALIASES"]

METRIC_ALIASES = {
    "ap": "average_precision",
    "auc": "roc_auc",
    "ece": "expected_calibration_error",
    "f1": "f_beta",
    "mae": "mean_absolute_error",
    "mcc": "matthews_correlation",
    "mse": "mean_squared_error",
    "nll": "cross_entropy",
    "rmse": "root_mean_squared_error",
}
