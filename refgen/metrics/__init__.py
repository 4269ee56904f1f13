"""How samples are judged: one function a figure, and the table that every system is shown in."""

from refgen.metrics.bayes import BayesDistance, bayes_distance
from refgen.metrics.images import (
    PrecisionRecall,
    copy_ratio,
    frechet_distance,
    knn_precision_recall,
    nearest_distance,
    one_nn_accuracy,
)
from refgen.metrics.points import (
    ModeStatistics,
    mode_statistics,
    sliced_ratio,
    sliced_wasserstein,
)
from refgen.metrics.table import baselines, format_table, judge_table

__all__ = [
    "BayesDistance",
    "ModeStatistics",
    "PrecisionRecall",
    "baselines",
    "bayes_distance",
    "copy_ratio",
    "format_table",
    "frechet_distance",
    "judge_table",
    "knn_precision_recall",
    "mode_statistics",
    "nearest_distance",
    "one_nn_accuracy",
    "sliced_ratio",
    "sliced_wasserstein",
]
