"""The judge of samples: a classifier that saw the real training images and nothing else.

No weights come with refgen. A judge is trained once for a data set, always from seed 0 and by the
recipe of `classifier`, and kept in the user's cache folder: $REFGEN_CACHE, or refgen/ below
$XDG_CACHE_HOME or ~/.cache. The name of its file is a digest of the data, the settings and the
code that trained it, so a judge is never taken for another.
"""

import hashlib
import importlib
import io
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from refgen import tree
from refgen.data import Dataset
from refgen.systems import SYSTEMS, Classifier
from refgen.training.checkpoint import State
from refgen.training.files import write_whole
from refgen.training.loop import Recipe, require_labels, train
from refgen.typing import Array, Params

CODE = (  # what a judge's weights depend on, besides its data and settings
    "refgen.noise",
    "refgen.tree",
    "refgen.ops.activation",
    "refgen.ops.adam",
    "refgen.ops.conv",
    "refgen.ops.dense",
    "refgen.ops.likelihood",
    "refgen.ops.resample",
    "refgen.layers.activation",
    "refgen.layers.conv",
    "refgen.layers.dense",
    "refgen.layers.sequence",
    "refgen.models.convnet",
    "refgen.systems.classifier",
    "refgen.training.judge",
    "refgen.training.loop",
    "refgen.training.optimizer",
)


@dataclass(frozen=True, eq=False)
class Judge:
    """A trained classifier, and how often it is right on held-out images."""

    classifier: Classifier
    params: Params
    accuracy: float  # 0 .. 1, on the held-out part of its data set
    held_out: int  # how many images that are

    def labels(self, images: Array) -> Array:
        """Return the likeliest class of each image, (N,) int64."""
        return self.classifier.labels(self.params, images.astype(np.float32))

    def features(self, images: Array) -> Array:
        """Return the activations of the last layer but one, (N, F)."""
        return self.classifier.features(self.params, images.astype(np.float32))


def judge_of(
    dataset: Dataset,
    *,
    say: Callable[[str], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Judge:
    """Return the judge of a data set with labels, trained where the cache has none.

    Training takes about a minute on one core; say is then told so in one line, and on_step hears
    (steps done, steps in all). A cache that cannot be read or written is told to say as well; the
    judge is the same without it. Raises ValueError for data without labels.
    """
    tell = say or (lambda text: None)
    classifier, recipe = _plan(dataset)
    require_labels(classifier, dataset)
    train_set, held_out = dataset.split()
    path = _file(dataset, classifier, recipe)
    params = _cached(path, classifier, tell)
    if params is None:
        tell(
            f"training the judge of {dataset.name} once: {recipe.steps} steps of {recipe.batch}, "
            f"to be kept in {path.parent}"
        )

        def hear(state: State, row: dict[str, float]) -> None:
            if on_step:
                on_step(state.step, recipe.steps)

        with np.errstate(all="ignore"):  # the loop looks for what is not finite at every step
            params = train(classifier, train_set, recipe, on_step=hear).average
        _keep(path, params, tell)
    right = classifier.labels(params, held_out.data) == held_out.labels
    return Judge(classifier, params, float(np.mean(right)), len(held_out))


def cache_folder() -> Path:
    """Return the folder of judges; it need not exist."""
    own = os.environ.get("REFGEN_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return (Path(own) if own else Path(home, "refgen")).expanduser() / "judges"


def _plan(dataset: Dataset) -> tuple[Classifier, Recipe]:
    """Return the classifier and the recipe that `refgen train classifier` would take."""
    labels = dataset.labels
    wanted: dict[str, Any] = dict(getattr(SYSTEMS["classifier"], dataset.kind))
    if labels is not None:
        wanted["classes"] = max(2, int(labels.max()) + 1)
    rates = {f.name for f in fields(Recipe)}
    recipe = Recipe(**{k: v for k, v in wanted.items() if k in rates}, seed=0)
    settings = {k: v for k, v in wanted.items() if k not in rates}
    return Classifier(shape=dataset.shape, **settings), recipe


def _file(dataset: Dataset, classifier: Classifier, recipe: Recipe) -> Path:
    """Return the path of a judge, named by a digest of all that it depends on."""
    digest = hashlib.sha256()
    settings = {f.name: getattr(classifier, f.name) for f in fields(classifier) if f.name != "ops"}
    digest.update(json.dumps([settings, asdict(recipe)]).encode())
    for name in CODE:
        file = importlib.import_module(name).__file__
        assert file is not None
        digest.update(Path(file).read_bytes())
    train_set, _ = dataset.split()
    for a in (train_set.data, train_set.labels):
        digest.update(np.ascontiguousarray(a).tobytes())
    word = "".join(c if c.isalnum() else "-" for c in Path(dataset.name).name)[:40]
    return cache_folder() / f"{word}-{digest.hexdigest()[:24]}.npz"


def _cached(path: Path, classifier: Classifier, tell: Callable[[str], None]) -> Params | None:
    """Return the parameters in a file, or None where there is none or it is damaged."""
    if not path.exists():
        return None
    from refgen.noise import Noise

    shapes = {name: a.shape for name, a in tree.flatten(classifier.init(Noise(0))).items()}
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        found = {name: a.shape for name, a in arrays.items() if a.dtype == np.float32}
        if found != shapes or not all(np.isfinite(a).all() for a in arrays.values()):
            raise ValueError("its arrays are not those of a judge")
    except Exception as error:  # a flipped bit reaches every complaint of zipfile and of np.load
        tell(f"{path} is damaged ({error}): the judge is trained again")
        return None
    params: Params = tree.unflatten(arrays)
    return params


def _keep(path: Path, params: Params, tell: Callable[[str], None]) -> None:
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **tree.flatten(params))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda file: file.write(content.getvalue()))
    except OSError as error:
        tell(f"the judge is not kept: {error}; set REFGEN_CACHE to a folder that can be written")
