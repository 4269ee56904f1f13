"""Worlds that the tests of this folder share, in two or three dimensions, and on the line."""

import numpy as np

from refgen.exact import Boxes, Deltas, Gaussian, Mixture

RNG = np.random.default_rng(0)
SQUARE = RNG.normal(size=(3, 3))
CORNERS = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, -3.0]])

WORLDS = {
    "gaussian": Gaussian(RNG.normal(size=3), SQUARE @ SQUARE.T),
    "mixture": Mixture(
        np.array([0.2, 0.3, 0.5]), RNG.normal(size=(3, 3)), np.array([0.01, 0.3, 1e-4])
    ),
    "deltas": Deltas(RNG.normal(size=(7, 3))),
    "boxes": Boxes(np.array([0.25, 0.75]), CORNERS, CORNERS + np.array([1.0, 2.0, 0.5])),
}
LINES = {
    "gaussian": Gaussian(np.array([0.4]), np.array([[0.3]])),
    "mixture": Mixture(np.array([0.3, 0.7]), np.array([[-1.0], [0.8]]), np.array([0.05, 0.2])),
    "boxes": Boxes(np.array([0.4, 0.6]), np.array([[-1.0], [0.5]]), np.array([[-0.5], [2.0]])),
}
LEVELS = [(1.0, 0.01), (0.7, 0.7), (1e-3, 1.0), (0.0, 1.0), (1.0, 100.0), (1.0, 1e-6)]
