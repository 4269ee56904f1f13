"""More than labels: small pictures, captions, codes."""

from refgen.systems.entry import WITHOUT_NOISE, Entry, network
from refgen.systems.latent_diffusion import LatentDiffusion
from refgen.systems.super_resolution import SuperResolution
from refgen.systems.text import Text

POINTS = {"steps": 1}  # these systems refuse points; a recipe is asked for first

ENTRIES = (
    Entry(
        "super-resolution",
        "Super-resolution by concatenation",
        "conditioning",
        (4,),
        "one draw, and the mean of 8, beat bicubic in PSNR on held-out digits (4 x 4 to 8 x 8) and "
        "clothes (7 to 14); digits: precision 0.712, recall 0.822, copy ratio 0.9",
        SuperResolution,
        network(steps=1500, lr=2e-3, hidden=64, blocks=1, clip=1.0, variance="beta"),
        POINTS,
    ),
    Entry(
        "text-cross-attention",
        "Text to image by cross-attention",
        "conditioning",
        (3, 4),
        "scenes show the sentence asked for: 90 %, and 95 % at guidance 2; another's caption costs "
        "1.5 times the loss",
        Text,
        network(steps=1800, lr=2e-3, hidden=64, blocks=1, clip=1.0, classes=10),
        POINTS,
        data="scenes",
    ),
    Entry(
        "latent-diffusion",
        "Latent diffusion",
        "conditioning",
        (4,),
        "digits: the judge recognises 95.8 % at guidance 2; reconstructions reach 30 dB; precision "
        "0.712, recall 0.822, copy ratio 0.9",
        LatentDiffusion,
        {
            **network(steps=4000, lr=3e-3, hidden=64, blocks=1),
            "channels": 32,
            "latent": 3,
            "shake": 0.05,
            "share": 0.45,
            "clip": 4.0,
            "classes": 10,
            **WITHOUT_NOISE,
        },
        POINTS,
    ),
)
