"""One step or a few: consistency models and distillation."""

from typing import Any

from refgen.systems.consistency import ConsistencyModel
from refgen.systems.entry import Entry
from refgen.systems.progressive_distillation import Progressive

UNET: dict[str, Any] = {"batch": 64, "lr": 2e-3, "model": "unet", "hidden": 64, "blocks": 1}

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "consistency",
        "Consistency model",
        "few-steps",
        (0,),
        "digits in 2 calls and in 1: precision 0.712, recall 0.822, copy ratio 0.9; ring: distance "
        "1.44",
        ConsistencyModel,
        {**UNET, "steps": 4000, "clip": 1.0},
        {
            **{"steps": 6000, "batch": 512, "lr": 2e-3, "hidden": 128},
            **{"data_std": 1.4, "first": 0.01, "last": 10.0},
        },
    ),
    Entry(
        "progressive-distillation",
        "Progressive distillation",
        "few-steps",
        (0,),
        "digits in 4 calls: precision 0.712, recall 0.822, copy ratio 0.9; ring in 4 and in 1: "
        "distance 1.44, weights within 3 standard errors",
        Progressive,
        {**UNET, "steps": 4000, "clip": 1.0, "first": 128, "share": 0.25},
        {"steps": 6000, "batch": 512, "lr": 2e-3, "hidden": 128},
    ),
)
