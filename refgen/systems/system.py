"""What a system is: networks, the turns in which they learn, and a way to draw samples."""

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple, Protocol, cast

from refgen import tree
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Grads, Params

Gradient = Callable[..., tuple[dict[str, Array], Grads]]  # (params, batch, noise[, stage])


class Labelled(NamedTuple):
    """A batch with its labels."""

    data: Array  # (N, *shape)
    labels: Array  # (N,) int64, 0 .. K − 1


class Stage(NamedTuple):
    """How far a turn has come, for one that asks, and what all players average to by now."""

    step: int  # steps of its span that are done, 0 .. steps − 1
    steps: int  # the length of its span
    average: Params  # {player: tree}, the moving averages


@dataclass(frozen=True)
class Turn:
    """One gradient step: which parameters move, and down which loss.

    gradient(params, batch, noise) returns the named terms, each (N,) and one of them "loss", and
    the gradient of the mean loss in params[player]. The batch is (N, *shape), or for a turn that is
    labelled a Labelled batch. A step of training takes every turn of a system in order, each
    `repeat` times with a fresh batch and fresh noise. A turn is taken in the part of the training
    from `since` to `until`, 0 the start and 1 the end: so one player can learn before another.
    unit is what curves of the loss are in: nats where it is a −log p or a bound of one.
    """

    player: str
    gradient: Gradient
    repeat: int = 1
    labelled: bool = False
    since: float = 0.0
    until: float = 1.0
    heir_of: str = ""
    staged: bool = False
    unit: str = "loss"

    def span(self, steps: int) -> range:
        """Return the steps, of 0 .. steps − 1, in which the turn is taken.

        >>> turns = (Turn("first", print, until=0.4), Turn("second", print, since=0.4))
        >>> [turn.span(10) for turn in turns]
        [range(0, 4), range(4, 10)]
        """
        return range(round(self.since * steps), round(self.until * steps))


@dataclass(frozen=True)
class Request:
    """What samples are asked to be; None leaves it to the system.

    guidance is the weight γ of refgen.processes.guidance: 0 forgets the label or the caption, 1 is
    the model's own answer. between holds the noise levels σ, above the first and up to the second,
    to which it is confined.
    """

    label: int | None = None
    caption: str | None = None
    guidance: float | None = None
    between: tuple[float, float] | None = None

    @property
    def asked(self) -> tuple[str, ...]:
        """The names of what is asked."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) is not None)


NO_REQUEST = Request()


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


class Conditional(Generative, Protocol):
    """A system whose samples can be asked for something."""

    requests: ClassVar[tuple[str, ...]]  # names of the fields of a Request that it understands

    def sample(
        self,
        params: Any,
        count: int,
        noise: Noise,
        *,
        sampler: str = "",
        steps: int = 0,
        request: Request = NO_REQUEST,
    ) -> Array:
        """Draw (count, *shape) examples of what is asked.

        Raises ValueError as Generative's does, and for a label or a caption that was not learned.
        """


def name_of(system: Any) -> str:
    """Return what messages call a system: its id, or of an unregistered class the name.

    >>> class LinearVAE: ...
    >>> name_of(LinearVAE())
    'linear-vae'
    """
    from refgen.systems.entries import ENTRIES  # which import this page

    named = {entry.make: entry.id for entry in ENTRIES}
    words = re.sub("(?<=[a-z])(?=[A-Z])", "-", type(system).__name__).lower()
    return named.get(type(system), words)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that was probably meant, "" where none is near.

    >>> nearest("DDPM", ("ddim", "ddpm")), nearest("dpm", ("ddim", "dpm-solver")), nearest("x", ())
    ('ddpm', 'dpm-solver', '')
    """
    names, said = {k.lower(): k for k in known}, name.lower()
    begun = [k for k in names if len(said) > 1 and k.startswith(said)]
    near = [k for k in names if k == said] or begun or difflib.get_close_matches(said, names, 1)
    return names[near[0]] if near else ""


def refuse_points(what: str, shape: tuple[int, ...], data: str) -> None:
    """Raise ValueError for examples that are no images, naming data that are."""
    if len(shape) != 3:
        raise ValueError(f"{what} of images (H, W, C), not of {shape}: take --data {data}")


def refuse_unknown(what: str, value: str, known: Iterable[str]) -> None:
    """Raise ValueError for a value that is not among those known, with the one that is nearest.

    >>> refuse_unknown("schedule", "cosin", ("linear", "cosine"))
    Traceback (most recent call last):
        ...
    ValueError: unknown schedule 'cosin'; did you mean 'cosine'? There are linear, cosine
    """
    names = tuple(known)
    if value not in names:
        near = nearest(value, names)
        hint = f"did you mean {near!r}? There are" if near else "there are"
        raise ValueError(f"unknown {what} {value!r}; {hint} {', '.join(names)}")


def is_generative(system: System) -> bool:
    """Tell whether a system draws samples."""
    return hasattr(system, "sample")


def generative(system: System) -> Generative:
    """Return the system as one that draws samples. Raises ValueError where it draws none."""
    if not is_generative(system):
        name = name_of(system)
        raise ValueError(f"{name} draws no samples: it tells classes apart")
    return cast(Generative, system)


def draw(
    system: System,
    params: Any,
    count: int,
    noise: Noise,
    *,
    sampler: str = "",
    steps: int = 0,
    request: Request = NO_REQUEST,
) -> Array:
    """Return samples in ordinary memory, wherever the system computes and the parameters lie.

    Raises ValueError for a system that draws none, for what its sampler does not have, and for a
    request that it does not understand.
    """
    source = generative(system)
    refuse_request(system, request)
    here = tree.map(system.ops.put, params)
    asking = {"request": request} if request.asked else {}
    return system.ops.fetch(
        source.sample(here, count, noise, sampler=sampler, steps=steps, **asking)
    )


def refuse_request(system: System, request: Request) -> None:
    """Raise ValueError where something is asked that the system does not understand."""
    known: tuple[str, ...] = getattr(system, "requests", ())
    for name in request.asked:
        if name not in known:
            have = f"it takes {', '.join(known)}" if known else "it was trained without any"
            raise ValueError(f"{name_of(system)} takes no {name}: {have}")


def refuse_sampler(name: str, samplers: tuple[str, ...], sampler: str, steps: int) -> None:
    """Raise ValueError for a sampler that is not in the list, or steps where there are none."""
    if sampler and sampler not in samplers:
        near = nearest(sampler, samplers)
        hint = f"did you mean {near!r}? It has" if near else "it has"
        have = f"{hint} {', '.join(samplers)}" if samplers else "it draws in one pass"
        raise ValueError(f"{name} has no sampler {sampler!r}: {have}")
    if steps < 0 or (steps and not samplers):
        raise ValueError(f"{name} cannot take {steps} sampling steps")
