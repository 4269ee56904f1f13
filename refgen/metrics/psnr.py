r"""How far an enlarged picture is from the true one.

Shapes     found, truth : (N, *S)    psnr : (N,), in decibels

    psnr = 10 log₁₀(R² / mse),   mse the mean over one picture, R the range of the data   (PN.1)

It rises by 3 where the squared error is halved. A draw from what the true picture may be errs twice
as much, in the mean square, as the mean of many draws does: 3 dB that say nothing about the
pictures' look. So a sampler is shown with both.
"""

import numpy as np

from refgen.typing import Array

RANGE = 2.0  # of images in [−1, 1]


def psnr(found: Array, truth: Array, span: float = RANGE) -> Array:
    """Return the peak signal-to-noise ratio of each picture; inf where nothing is wrong.

    Raises ValueError for two shapes.

    >>> psnr(np.full((1, 2, 2, 1), 0.2), np.zeros((1, 2, 2, 1)))
    array([20.])
    """
    if found.shape != truth.shape:
        raise ValueError(f"pictures are compared one by one, not {found.shape} and {truth.shape}")
    error = (found.astype(np.float64) - truth).reshape(len(found), -1)
    mse = np.mean(error * error, axis=1)
    with np.errstate(divide="ignore"):
        ratio: Array = 10 * np.log10(span**2 / mse)  # (PN.1)
    return ratio
