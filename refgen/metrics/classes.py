r"""What a judge says of classes: how it errs, and how often each class was drawn.

Shapes     N images, K classes.   labels, found : (N,) in 0 .. K − 1

With M_ij the number of images of class i that are called j,

    accuracy = Σ_i M_ii / Σ_ij M_ij                                                  (MK.1)
    share_j = Σ_i M_ij / Σ_ij M_ij                                                   (MK.2)
    class gap of p and q = ½ Σ_k |p_k − q_k|,   their total variation                (MK.3)

Chance alone makes gaps: of 500 draws from ten equal classes the gap to a tenth each is 0.05 on
average, and between two such sets it is 0.08. A judge that errs moves shares from class to
class, but does so in the row of held-out images as well.
"""

import numpy as np

from refgen.typing import Array


def confusion(labels: Array, found: Array, classes: int) -> Array:
    """Return M, (K, K) counts: the row is the true class, the column the one that was named.

    Raises ValueError where the two differ in length or a label is not in 0 .. K − 1.

    >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    array([[1, 1],
           [0, 1]])
    """
    if labels.shape != found.shape:
        raise ValueError(f"{len(labels)} labels do not go with {len(found)} named classes")
    _refuse(labels, classes)
    _refuse(found, classes)
    return np.bincount(labels * classes + found, minlength=classes**2).reshape(classes, classes)


def accuracy(matrix: Array) -> float:
    """Return the share of a confusion matrix that lies on its diagonal."""
    return float(np.trace(matrix) / np.sum(matrix))  # (MK.1)


def class_shares(found: Array, classes: int) -> Array:
    """Return the share of each class among named classes, (K,) summing to 1.

    Raises ValueError where a label is not in 0 .. K − 1.
    """
    _refuse(found, classes)
    return np.bincount(found, minlength=classes) / len(found)  # (MK.2)


def class_gap(p: Array, q: Array) -> float:
    """Return the total variation of two lists of shares, 0 .. 1."""
    return 0.5 * float(np.sum(np.abs(p - q)))  # (MK.3)


def _refuse(labels: Array, classes: int) -> None:
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels are some integers of 0 .. {classes - 1}")
