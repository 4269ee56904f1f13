"""What a system is: networks, the turns in which they learn, and a way to draw samples."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, cast

from refgen import tree
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Grads, Params

Gradient = Callable[[Any, Any, Noise], tuple[dict[str, Array], Grads]]


class Labelled(NamedTuple):
    """A batch with its labels."""

    data: Array  # (N, *shape)
    labels: Array  # (N,) int64, 0 .. K − 1


@dataclass(frozen=True)
class Turn:
    """One gradient step: which parameters move, and down which loss.

    gradient(params, batch, noise) returns the named terms, each (N,) and one of them "loss", and
    the gradient of the mean loss in params[player]. The batch is (N, *shape), or for a turn that is
    labelled a Labelled batch. A step of training takes every turn of a system in order, each
    `repeat` times with a fresh batch and fresh noise.
    """

    player: str
    gradient: Gradient
    repeat: int = 1
    labelled: bool = False


class System(Protocol):
    """A frozen dataclass; its fields are the settings a user may change.

    Data are (N, *shape): images in [-1, 1], points as they are.
    """

    @property
    def ops(self) -> Ops:
        """The table of ops: the reference, or a backend laid over it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example."""

    def init(self, noise: Noise) -> Params:
        """Draw {player: parameters}."""

    def turns(self) -> tuple[Turn, ...]:
        """Return what one step of training does."""


class Generative(System, Protocol):
    """A system that draws samples: all but the classifier."""

    samplers: ClassVar[tuple[str, ...]]  # names accepted by sample; () when there is one way

    def sample(
        self, params: Any, count: int, noise: Noise, *, sampler: str = "", steps: int = 0
    ) -> Array:
        """Draw (count, *shape) examples; sampler "" and steps 0 mean the system's own choice.

        Raises ValueError for a sampler or a number of steps that the system does not have.
        """


def is_generative(system: System) -> bool:
    """Tell whether a system draws samples."""
    return hasattr(system, "sample")


def generative(system: System) -> Generative:
    """Return the system as one that draws samples. Raises ValueError where it draws none."""
    if not is_generative(system):
        name = type(system).__name__.lower()
        raise ValueError(f"a {name} draws no samples: it tells classes apart")
    return cast(Generative, system)


def draw(
    system: System, params: Any, count: int, noise: Noise, *, sampler: str = "", steps: int = 0
) -> Array:
    """Return samples in ordinary memory, wherever the system computes and the parameters lie.

    Raises ValueError for a system that draws none, and for what its sampler does not have.
    """
    source = generative(system)
    here = tree.map(system.ops.put, params)
    return system.ops.fetch(source.sample(here, count, noise, sampler=sampler, steps=steps))


def refuse_sampler(name: str, samplers: tuple[str, ...], sampler: str, steps: int) -> None:
    """Raise ValueError for a sampler that is not in the list, or steps where there are none."""
    if sampler and sampler not in samplers:
        have = f"it has {', '.join(samplers)}" if samplers else "it draws in one pass"
        raise ValueError(f"{name} has no sampler {sampler!r}: {have}")
    if steps < 0 or (steps and not samplers):
        raise ValueError(f"{name} cannot take {steps} sampling steps")
