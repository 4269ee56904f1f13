"""What a wrong name is answered with: the id of the system, and the name that was meant."""

import pytest

from refgen.noise import Noise
from refgen.systems import SYSTEMS, build, find
from refgen.systems.system import name_of

IMAGE = (8, 8, 1)


def shape(name):
    return (20,) if SYSTEMS[name].family == "imitation" else IMAGE


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_is_called_by_its_id(name):
    assert name_of(build(name, shape(name), {})) == name


@pytest.mark.parametrize(
    ("system", "setting", "wrong", "meant"),
    [
        ("ddpm", "schedule", "cosin", "cosine"),
        ("improved-ddpm", "schedule", "Cosine", "cosine"),
        ("diffusion-policy", "schedule", "cosin", "cosine"),
        ("ddpm", "weight", "simpel", "simple"),
        ("diffusion-policy", "weight", "elb", "elbo"),
        ("edm", "weight", "emd", "edm"),
        ("progressive-distillation", "weight", "trunc", "truncated"),
        ("ddpm", "variance", "bata", "beta"),
        ("ddpm", "sampler", "ddmi", "ddim"),
        ("vp-sde", "sampler", "dpm", "dpm-solver"),
        ("vp-sde", "kind", "nois", "noise"),
        ("edm", "kind", "vel", "velocity"),
        ("vp-sde", "spacing", "karas", "karras"),
        ("vp-sde", "via", "subvp", "sub-vp"),
        ("improved-ddpm", "kind", "Noise", "noise"),
        ("improved-ddpm", "loss", "hybird", "hybrid"),
        *((name, "model", "unnet", "unet") for name in ("ddpm", "improved-ddpm", "vp-sde", "ncsn")),
        *((name, "model", "unnet", "unet") for name in ("consistency", "progressive-distillation")),
        ("gan", "model", "dgan", "dcgan"),
        ("consistency", "target", "avarage", "average"),
        ("consistency", "distance", "hubr", "huber"),
        ("vae", "likelihood", "gausian", "gaussian"),
        ("ebm", "method", "denoise", "denoising"),
        ("text-cross-attention", "encoder", "learnt", "learned"),
        ("latent-diffusion", "condition", "captions", "caption"),
        ("bc", "policy", "gausian", "gaussian"),
    ],
)
def test_a_word_that_is_none_is_answered_by_the_nearest_and_all(system, setting, wrong, meant):
    said = rf"unknown [\w ]+ '{wrong}'; did you mean '{meant}'\? There are .*\b{meant}\b"
    with pytest.raises(ValueError, match=said):
        build(system, shape(system), {setting: wrong})


@pytest.mark.parametrize(
    ("system", "wrong", "said"),
    [
        ("ddpm", "ddmi", "ddpm has no sampler 'ddmi': did you mean 'ddim'? It has ancestral, ddim"),
        ("vp-sde", "dpm", "vp-sde has no sampler 'dpm': did you mean 'dpm-solver'? It has reverse"),
        ("progressive-distillation", "x", "progressive-distillation has no sampler 'x': it has st"),
        ("vae", "ddim", "vae has no sampler 'ddim': it draws in one pass"),
    ],
)
def test_a_sampler_that_is_none_is_answered_by_the_nearest(system, wrong, said):
    small = {"hidden": 8, "T": 4} if system == "ddpm" else {"hidden": 8}
    made = build(system, (2,), small)
    with pytest.raises(ValueError, match="has no sampler") as caught:
        made.sample(made.init(Noise(0)), 1, Noise(1), sampler=wrong)
    assert str(caught.value).startswith(said)


def test_the_mean_of_a_step_is_no_prediction_in_continuous_time():
    with pytest.raises(ValueError, match="unknown prediction 'mean'; there are data, noise, v"):
        build("vp-sde", (2,), {"kind": "mean"})


@pytest.mark.parametrize(("wrong", "meant"), [("DDPM", "ddpm"), ("VP-SDE", "vp-sde"), ("t", "T")])
def test_capitals_do_not_hide_what_was_meant(wrong, meant):
    with pytest.raises(ValueError, match=f"did you mean {meant!r}"):
        build("ddpm", (2,), {"t": 3}) if meant == "T" else find(wrong)
