"""Score models in continuous time and over noise levels."""

from refgen.systems.edm import EDM
from refgen.systems.entry import Entry
from refgen.systems.ncsn import NCSN
from refgen.systems.ve_sde import VESDE
from refgen.systems.vp_sde import VPSDE

POINTS = {"steps": 4000, "batch": 256, "lr": 2e-3, "hidden": 128, "data_std": 1.4}
UNET = {"steps": 1000, "lr": 2e-3, "hidden": 64, "blocks": 1, "model": "unet", "clip": 1.0}
MODELS = {  # what another network is trained by
    "mlp": {"steps": 4500, "batch": 256, "lr": 1.5e-3, "hidden": 384, "blocks": 3},
    "dit": {"steps": 4000, "lr": 3e-3, "hidden": 96, "blocks": 4},
}
CORRECTED = {  # many steps of Langevin at each level, as in NCSN
    "sampler": "predictor-corrector",
    "sample_steps": 30,
    "corrections": 3,
    "ratio": 0.39,
    "spacing": "noise",
}
BAR = "digits: precision 0.712, recall 0.822, copy ratio 0.9; ring: distance 1.44, weights, spread"

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "vp-sde",
        "Variance-preserving SDE",
        "score",
        (1, 3, 4),
        BAR,
        VPSDE,
        {"batch": 64, **UNET, "sample_steps": 55},
        {**POINTS, "data_std": 1.0, "batch": 512, "sample_steps": 200},
        MODELS,
    ),
    Entry(
        "ve-sde",
        "Variance-exploding SDE",
        "score",
        (1, 3, 4),
        BAR,
        VESDE,
        {"batch": 64, **UNET, "data_std": 0.8, **CORRECTED},
        POINTS,
        MODELS,
    ),
    Entry(
        "ncsn",
        "Noise-conditional score network",
        "score",
        (3, 4),
        BAR + "; two modes: weights within 0.05",
        NCSN,
        {"batch": 64, **UNET, "data_std": 0.8},
        {**POINTS, "batch": 512, "step": 0.4},
        MODELS,
    ),
    Entry(
        "edm",
        "Preconditioned denoiser",
        "score",
        (1, 3),
        BAR,
        EDM,
        {"batch": 64, **UNET, "data_std": 0.8},
        {**POINTS, "batch": 512, "std": 1.6, "churn": 20.0, "sample_steps": 40},
        MODELS,
    ),
)
