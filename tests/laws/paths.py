"""Two worlds on five paths, and what is exact there."""

import numpy as np

from refgen.exact import Gaussian, Mixture
from refgen.processes.path import EDM, VE, VP, CosinePath, SubVP

WORLD = Gaussian(np.array([0.5, -0.3]), np.array([[0.6, 0.2], [0.2, 0.4]]))
BLOBS = Mixture(np.array([0.3, 0.7]), np.array([[-1.0], [1.0]]), np.array([0.09, 0.16]))
PATHS = {
    "vp": VP(),
    "sub-vp": SubVP(),
    "ve": VE(0.01, 8.0),
    "cosine": CosinePath(),
    "edm": EDM(8.0),
}
ENDS = dict.fromkeys(PATHS, (1.0, 0.05)) | {"cosine": (0.95, 0.05), "ve": (1.0, 0.5)}


def noise_of(world, path, seen=None):
    """Return the exact noise prediction; keep the times it is asked at."""

    def predict(x, t):
        if seen is not None:
            seen.append(t)
        a, b, _, _ = path.levels(t)
        return world.noise_mean(x, float(a), float(b))

    return predict


def marginal(world, path, t):
    """Return mean and covariance of a Gaussian world at a time of a path."""
    a, b, _, _ = path.levels(t)
    return a * world.mean, a * a * world.cov + b * b * np.eye(world.dim)
