"""Every system that is told something, small, and what it may be given."""

import numpy as np
import pytest

from refgen import tree
from refgen.data import Dataset
from refgen.noise import Noise
from refgen.systems.cfg import CFG
from refgen.systems.classifier_guidance import ClassifierGuidance
from refgen.systems.latent_diffusion import LatentDiffusion
from refgen.systems.super_resolution import SuperResolution
from refgen.systems.system import Labelled
from refgen.systems.text import Text

IMAGE, POINT = (4, 4, 1), (2,)
TINY = {"T": 6, "hidden": 16, "blocks": 1, "classes": 3}


def cases():
    """Return every system in every form, small."""
    small = {"T": 6, "hidden": 16, "blocks": 1}
    return {
        "cfg of points": CFG(POINT, **TINY),
        "cfg mlp": CFG(IMAGE, model="mlp", **TINY),
        "cfg unet": CFG(IMAGE, model="unet", **TINY),
        "cfg dit": CFG(IMAGE, model="dit", **TINY),
        "text": Text(IMAGE, **TINY),
        "text frozen": Text(IMAGE, encoder="frozen", **TINY),
        "latent": LatentDiffusion(IMAGE, channels=3, latent=2, **TINY),
        "latent mlp": LatentDiffusion(IMAGE, channels=3, latent=2, model="mlp", **TINY),
        "latent text": LatentDiffusion(IMAGE, channels=3, latent=2, condition="caption", **TINY),
        "classifier guidance": ClassifierGuidance(IMAGE, judge_hidden=4, **TINY),
        "classifier guidance of points": ClassifierGuidance(POINT, judge_hidden=4, **TINY),
        "super-resolution": SuperResolution(IMAGE, **small),
    }


each = pytest.mark.parametrize("name", cases())


def batch_of(system, count=4, seed=0):
    rng = np.random.default_rng(seed)
    return Labelled(rng.normal(size=(count, *system.shape)), rng.integers(0, 3, count))


def dataset(shape, count=64):
    data = np.tanh(np.random.default_rng(0).normal(size=(count, *shape))).astype(np.float32)
    kind = "images" if len(shape) == 3 else "points"
    return Dataset("some", data, np.arange(count) % 3, kind, 0)


def moved(system, seed=0):
    rng = np.random.default_rng(seed)
    return tree.map(lambda a: a + 0.3 * rng.normal(size=a.shape), system.init(Noise(seed)))
