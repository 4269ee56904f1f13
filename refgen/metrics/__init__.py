"""How samples are judged: one function a figure, and the table that every system is shown in."""

from refgen.metrics.bayes import BayesDistance, bayes_distance
from refgen.metrics.classes import accuracy, class_gap, class_shares, confusion
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
    ToyVerdict,
    mode_statistics,
    sliced_ratio,
    sliced_wasserstein,
    toy_protocol,
)
from refgen.metrics.table import (
    against_gaussians,
    baselines,
    can_be_judged,
    format_table,
    image_tables,
    judge_table,
)

__all__ = [
    "BayesDistance",
    "ModeStatistics",
    "PrecisionRecall",
    "ToyVerdict",
    "accuracy",
    "against_gaussians",
    "baselines",
    "bayes_distance",
    "can_be_judged",
    "class_gap",
    "class_shares",
    "confusion",
    "copy_ratio",
    "format_table",
    "frechet_distance",
    "image_tables",
    "judge_table",
    "knn_precision_recall",
    "mode_statistics",
    "nearest_distance",
    "one_nn_accuracy",
    "sliced_ratio",
    "sliced_wasserstein",
    "toy_protocol",
]
