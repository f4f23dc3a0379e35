"""Which way is better, of every metric of the registry: what sorts slices worst first."""

from __future__ import annotations

from enum import Enum

__all__ = ["DIRECTIONS", "Better", "better"]


class Better(Enum):
    """Which values are the better ones."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


_HIGHER = """
accuracy top_k precision recall f_beta specificity jaccard balanced_accuracy cohen_kappa matthews_correlation r2
multilabel_accuracy multilabel_precision multilabel_recall multilabel_specificity multilabel_f_beta multilabel_jaccard
exact_match label_ranking_average_precision pixel_accuracy iou mean_iou dice panoptic_quality adjusted_rand
normalized_mutual_info homogeneity completeness v_measure token_f1 text_exact_match bleu chrf rouge ndcg
mean_reciprocal_rank mean_average_precision precision_at_k recall_at_k hit_rate grouped_auc retrieval_recall coco
roc_auc one_vs_rest_roc_auc one_vs_one_roc_auc gini average_precision precision_at_recall recall_at_precision
sensitivity_at_specificity specificity_at_sensitivity ks spearman explained_variance pearson concordance binary_accuracy
binned_roc_auc binned_average_precision cosine_similarity
"""
_LOWER = """
cross_entropy mean_absolute_error mean_squared_error root_mean_squared_error hamming_loss ranking_loss coverage_error
word_error_rate character_error_rate equal_error_rate median_absolute_error mean_squared_log_error
root_mean_squared_log_error mean_absolute_percentage_error symmetric_mean_absolute_percentage_error
weighted_absolute_percentage_error huber log_cosh pinball poisson_deviance gamma_deviance tweedie_deviance log_loss
normalised_entropy brier expected_calibration_error maximum_calibration_error equal_mass_expected_calibration_error
equal_mass_maximum_calibration_error nan_count infinity_count perplexity bits_per_byte fid
"""
# Tables and curves, descriptions of the data, what is best at a value in between, and how far two models are apart.
_NEITHER = """
confusion_matrix mean roc_curve pr_curve quantile minimum maximum mean_bias calibration_ratio counts_at_thresholds
reliability_curve equal_mass_reliability_curve residuals error_by_label zero_count variance standard_deviation histogram
ranking_gains mcnemar flip_rate prediction_difference largest_prediction_difference within_tolerance
"""
DIRECTIONS: dict[str, Better] = {
    name: way
    for way, names in ((Better.HIGHER, _HIGHER), (Better.LOWER, _LOWER), (Better.NEITHER, _NEITHER))
    for name in names.split()
}


def better(name: str) -> Better:
    """Return which way is better; of a metric of the user's own nothing is known.

    >>> better("accuracy"), better("brier"), better("own:Metric")
    (<Better.HIGHER: 'higher'>, <Better.LOWER: 'lower'>, <Better.NEITHER: 'neither'>)
    """
    return DIRECTIONS.get(name, Better.NEITHER)
