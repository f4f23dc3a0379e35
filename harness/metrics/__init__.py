"""The registry of metrics: which there are, and how a job's entry becomes one. Imports a family when it is asked for."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.errors import JobError, nearest
from harness.job.imports import load_object
from harness.job.specs import MetricSpec
from harness.metrics.contract import Metric
from harness.names.metric_aliases import METRIC_ALIASES

__all__ = ["METRICS", "load", "make"]

METRICS = {
    "accuracy": "classification:Accuracy",
    "top_k": "classification:TopK",
    "cross_entropy": "classification:CrossEntropy",
    "precision": "classification:Precision",
    "recall": "classification:Recall",
    "f_beta": "classification:FBeta",
    "confusion_matrix": "classification:ConfusionMatrix",
    "mean_absolute_error": "regression:MeanAbsoluteError",
    "mean_squared_error": "regression:MeanSquaredError",
    "root_mean_squared_error": "regression:RootMeanSquaredError",
    "r2": "regression:R2",
    "mean": "regression:Mean",
    "specificity": "classification:Specificity",
    "jaccard": "classification:Jaccard",
    "balanced_accuracy": "agreement:BalancedAccuracy",
    "cohen_kappa": "agreement:CohenKappa",
    "matthews_correlation": "agreement:MatthewsCorrelation",
    "multilabel_accuracy": "multilabel:MultilabelAccuracy",
    "multilabel_precision": "multilabel:MultilabelPrecision",
    "multilabel_recall": "multilabel:MultilabelRecall",
    "multilabel_specificity": "multilabel:MultilabelSpecificity",
    "multilabel_f_beta": "multilabel:MultilabelFBeta",
    "multilabel_jaccard": "multilabel:MultilabelJaccard",
    "hamming_loss": "multilabel:HammingLoss",
    "exact_match": "multilabel:ExactMatch",
    "ranking_loss": "label_ranking:RankingLoss",
    "coverage_error": "label_ranking:CoverageError",
    "label_ranking_average_precision": "label_ranking:LabelRankingAveragePrecision",
    "pixel_accuracy": "segmentation:PixelAccuracy",
    "iou": "segmentation:IoU",
    "mean_iou": "segmentation:MeanIoU",
    "dice": "segmentation:Dice",
    "panoptic_quality": "panoptic:PanopticQuality",
    "adjusted_rand": "clustering:AdjustedRand",
    "normalized_mutual_info": "clustering:NormalizedMutualInfo",
    "homogeneity": "clustering:Homogeneity",
    "completeness": "clustering:Completeness",
    "v_measure": "clustering:VMeasure",
    "word_error_rate": "text:WordErrorRate",
    "character_error_rate": "text:CharacterErrorRate",
    "token_f1": "text:TokenF1",
    "text_exact_match": "text:TextExactMatch",
    "bleu": "overlap:Bleu",
    "chrf": "overlap:Chrf",
    "rouge": "overlap:Rouge",
    "ndcg": "ranking:Ndcg",
    "mean_reciprocal_rank": "ranking:MeanReciprocalRank",
    "mean_average_precision": "ranking:MeanAveragePrecision",
    "precision_at_k": "ranking:PrecisionAtK",
    "recall_at_k": "ranking:RecallAtK",
    "hit_rate": "ranking:HitRate",
    "grouped_auc": "ranking:GroupedAuc",
    "ranking_gains": "ranking_gains:RankingGains",
    "retrieval_recall": "retrieval:RetrievalRecall",
    "coco": "detection:Coco",
    "roc_auc": "binary_exact:RocAuc",
    "one_vs_rest_roc_auc": "multiclass_auc:OneVsRestRocAuc",
    "one_vs_one_roc_auc": "multiclass_auc:OneVsOneRocAuc",
    "gini": "binary_exact:Gini",
    "average_precision": "binary_exact:AveragePrecision",
    "roc_curve": "curves:RocCurve",
    "pr_curve": "curves:PrecisionRecallCurve",
    "precision_at_recall": "operating_points:PrecisionAtRecall",
    "recall_at_precision": "operating_points:RecallAtPrecision",
    "sensitivity_at_specificity": "operating_points:SensitivityAtSpecificity",
    "specificity_at_sensitivity": "operating_points:SpecificityAtSensitivity",
    "ks": "binary_exact:KolmogorovSmirnov",
    "equal_error_rate": "binary_exact:EqualErrorRate",
    "median_absolute_error": "quantiles:MedianAbsoluteError",
    "quantile": "quantiles:Quantile",
    "spearman": "quantiles:Spearman",
    "minimum": "extremes:Minimum",
    "maximum": "extremes:Maximum",
    "mean_squared_log_error": "losses:MeanSquaredLogError",
    "root_mean_squared_log_error": "losses:RootMeanSquaredLogError",
    "mean_absolute_percentage_error": "losses:MeanAbsolutePercentageError",
    "symmetric_mean_absolute_percentage_error": "losses:SymmetricMeanAbsolutePercentageError",
    "weighted_absolute_percentage_error": "losses:WeightedAbsolutePercentageError",
    "huber": "losses:Huber",
    "log_cosh": "losses:LogCosh",
    "pinball": "losses:Pinball",
    "residuals": "residuals:Residuals",
    "error_by_label": "residuals:ErrorByLabel",
    "explained_variance": "correlation:ExplainedVariance",
    "pearson": "correlation:Pearson",
    "concordance": "correlation:Concordance",
    "mean_bias": "correlation:MeanBias",
    "poisson_deviance": "deviance:PoissonDeviance",
    "gamma_deviance": "deviance:GammaDeviance",
    "tweedie_deviance": "deviance:TweedieDeviance",
    "log_loss": "binary:LogLoss",
    "normalised_entropy": "binary:NormalisedEntropy",
    "brier": "binary:Brier",
    "calibration_ratio": "binary:CalibrationRatio",
    "binary_accuracy": "binary:BinaryAccuracy",
    "counts_at_thresholds": "binary:CountsAtThresholds",
    "binned_roc_auc": "binned:BinnedRocAuc",
    "binned_average_precision": "binned:BinnedAveragePrecision",
    "expected_calibration_error": "calibration:ExpectedCalibrationError",
    "maximum_calibration_error": "calibration:MaximumCalibrationError",
    "reliability_curve": "calibration:ReliabilityCurve",
    "equal_mass_expected_calibration_error": "calibration:EqualMassExpectedCalibrationError",
    "equal_mass_maximum_calibration_error": "calibration:EqualMassMaximumCalibrationError",
    "equal_mass_reliability_curve": "calibration:EqualMassReliabilityCurve",
    "nan_count": "health:NanCount",
    "infinity_count": "health:InfinityCount",
    "zero_count": "health:ZeroCount",
    "variance": "health:Variance",
    "standard_deviation": "health:StandardDeviation",
    "histogram": "health:Histogram",
    "perplexity": "language:Perplexity",
    "bits_per_byte": "language:BitsPerByte",
    "cosine_similarity": "embeddings:CosineSimilarity",
    "fid": "embeddings:FrechetDistance",
    "mcnemar": "pairs:McNemar",
    "flip_rate": "pairs:FlipRate",
    "prediction_difference": "pairs:PredictionDifference",
    "largest_prediction_difference": "pairs:LargestPredictionDifference",
    "within_tolerance": "pairs:WithinTolerance",
}


def load(name: str, folder: Path = Path(".")) -> type[Metric]:
    """Return the class of a metric: of the registry, or package.module:Class of the user's own.

    Args:
      name: as in the job, or short for it.
      folder: where the user's own modules are looked for first.
    Raises: JobError: there is no metric of that name, or it is no metric.
    """
    if ":" in name:
        own = load_object(name, folder, "metrics: python")
        if not (isinstance(own, type) and issubclass(own, Metric)):
            raise JobError(f"metrics: python: {name} is no metric: expected a subclass of harness.metrics.contract.Metric")
        return own
    name = METRIC_ALIASES.get(name, name)
    if name not in METRICS:
        raise JobError(f"unknown metric '{name}': {_nearest(name)}'harness metrics' lists all {len(METRICS)}")
    module, _, attribute = METRICS[name].partition(":")
    kind: type[Metric] = getattr(importlib.import_module(f"harness.metrics.{module}"), attribute)
    return kind


def _nearest(name: str) -> str:
    """Suggest the nearest few: nobody reads all of them.

    >>> _nearest("acuracy"), _nearest("zzz")
    ("did you mean 'accuracy'? ", '')
    >>> _nearest("roc")
    "did you mean 'roc_auc'? also near: roc_curve; "
    >>> _nearest("F1_score"), _nearest("kappa")
    ("did you mean 'f1'? ", "did you mean 'cohen_kappa'? ")
    """
    name, every = name.lower(), [*METRICS, *METRIC_ALIASES]
    close = difflib.get_close_matches(name, every, n=3, cutoff=0.7)
    close = close or [known for known in METRICS if len(name) > 2 and known.startswith(name)][:3]
    close = close or [known for known in every if known in name.split("_") or name in known.split("_")][:3]
    also = f"also near: {', '.join(close[1:])}; " if close[1:] else ""
    return f"did you mean '{close[0]}'? {also}" if close else ""


def make(specs: Sequence[MetricSpec], folder: Path = Path(".")) -> dict[str, Metric]:
    """Build the metrics of a job, by the key under which each is reported.

    The key is the option `name` where it is given, else the metric's name, with its options where a job has several.

    >>> list(make([MetricSpec(name="top_k", options={"k": 1}), MetricSpec(name="top_k", options={"k": 3})]))
    ['top_k(k=1)', 'top_k(k=3)']

    Raises: JobError: an unknown metric or option, a wrong value, or two metrics that are the same.
    """
    names = [spec.name for spec in specs]
    metrics: dict[str, Metric] = {}
    for spec in specs:
        metric = _build(spec, folder)
        short = spec.name.rpartition(":")[2]
        key = metric.name or (short if names.count(spec.name) == 1 else _key(short, spec.options))
        if key in metrics:
            raise JobError(f"two metrics are reported as '{key}': give one another name, {{{spec.name}: {{name: ...}}}}")
        metrics[key] = metric
    return metrics


def _key(name: str, options: dict[str, Any]) -> str:
    text = ",".join(f"{key}={value}" for key, value in sorted(options.items()))
    return f"{name}({text})" if text else name


def _build(spec: MetricSpec, folder: Path) -> Metric:
    kind = load(spec.name, folder)
    try:
        return kind(**spec.options)
    except ValidationError as exc:
        lines = []
        for error in exc.errors():
            option = ".".join(str(part) for part in error["loc"])
            if error["type"] == "extra_forbidden":
                lines.append(f"metric {spec.name}: unknown option '{option}': {nearest(option, kind.model_fields)}")
            else:
                shown = "" if error["type"] == "value_error" else f", found {error['input']!r}"
                message = error["msg"].removeprefix("Value error, ")
                lines.append(f"metric {spec.name}: {option or 'options'}: {message}{shown}")
        raise JobError("\n".join(lines)) from None
