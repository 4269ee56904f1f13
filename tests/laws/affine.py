"""Mean and covariance of what a sampler returns, without a draw, where its steps are affine.

With the exact prediction of a Gaussian world every sampler here is an affine map of its start and
its draws. Such a map is known from its values at 0 and at unit vectors: so a batch is made of
which example 0 has no start and no noise, the next D start at a unit vector each, and every later
one has noise in one coordinate of one draw only.
"""

import numpy as np

from refgen import ops as reference


class Tape:
    """A table of ops whose draws are unit vectors, each for one example. It keeps the addresses."""

    def __init__(self, dim):
        self.dim, self.streams = dim, []

    def normals(self, stream, start, count):
        assert start == 0
        assert stream not in self.streams, "an address is drawn from twice"
        first = 1 + self.dim * (1 + len(self.streams))
        self.streams.append(stream)
        z = np.zeros((count // self.dim, self.dim))
        z[first : first + self.dim] = np.eye(self.dim)[: len(z[first:])]
        return z.reshape(-1)

    def __getattr__(self, name):
        if not name.endswith("_drawn"):
            return getattr(reference, name)
        forward = getattr(reference, name.removesuffix("_drawn") + "_forward")

        def drawn(x, *arrays, **levels):
            *arrays, stream = arrays
            z = self.normals(stream, 0, x.size).reshape(x.shape)
            return forward(x, *arrays, z, **levels)[0]

        return drawn


def moments(sample, mean, cov):
    """Return mean and covariance of sample(x, ops) for x of a mean and a covariance."""
    dim = len(mean)
    count = Tape(dim)
    sample(np.zeros((1, dim)), count)
    start = np.zeros((1 + dim * (1 + len(count.streams)), dim))
    start[1 : 1 + dim] = np.eye(dim)
    end = sample(start, Tape(dim))
    gains = end[1:] - end[0]
    of_start, of_noise = gains[:dim], gains[dim:]
    return end[0] + mean @ of_start, of_start.T @ cov @ of_start + of_noise.T @ of_noise


def off(found, world, a=1.0, b=0.0):
    """Return by how much moments miss those of a Gaussian world at a signal and a noise level."""
    mean, cov = found
    truth = a * a * world.cov + b * b * np.eye(world.dim)
    return max(np.abs(mean - a * world.mean).max(), np.abs(cov - truth).max())
