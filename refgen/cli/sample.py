"""`refgen sample`: draw from a trained run."""

import argparse
import io
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

from refgen.cli import backends, begin, pictures, rollouts, settings, terms

if TYPE_CHECKING:
    from refgen.systems.system import Request, System
    from refgen.typing import Array

EXAMPLE = """
refgen sample runs/ddpm-digits
refgen sample runs/ddpm-digits -n 100 --sampler ddim --steps 50 --out digits.png
refgen sample runs/vae-moons -n 10000 --npz points.npz
refgen sample runs/cfg-digits --label 3 --guidance 2
"""


def add(commands: terms.Commands) -> None:
    """Declare the command."""
    p = terms.command(commands, "sample", run, "draw from a trained run", EXAMPLE)
    p.add_argument("folder", metavar="RUN", help="the folder that `refgen train` made")
    p.add_argument("-n", metavar="N", type=terms.integer(1), default=64, help="how many (64)")
    p.add_argument("--sampler", metavar="NAME", default="", help="where a system has several")
    p.add_argument("--steps", metavar="N", type=terms.integer(1), default=0, help="of the sampler")
    p.add_argument("--label", metavar="Y", type=terms.integer(0), help="the class asked for")
    p.add_argument("--caption", metavar="TEXT", help="the sentence asked for")
    p.add_argument(
        "--guidance",
        metavar="W",
        type=_number,
        help="how much the label or the caption counts: 0 not at all, 1 as learned (γ; 1 + w_cfg)",
    )
    p.add_argument(
        "--between",
        metavar=("LOW", "HIGH"),
        nargs=2,
        type=_number,
        help="guide at noise levels LOW < σ ≤ HIGH only, of signal 1",
    )
    p.add_argument("--seed", metavar="S", type=terms.SEED, default=0, help="of the draws (0)")
    p.add_argument("--backend", metavar="B", type=backends.backend, help=backends.HELP)
    p.add_argument("--out", metavar="FILE.png", type=terms.picture_target, help="the picture")
    p.add_argument("--npz", metavar="FILE", type=terms.file_target, help="the samples as arrays")


def run(args: argparse.Namespace) -> int:
    """Draw with the averaged parameters of the newest good checkpoint."""
    import numpy as np

    from refgen.noise import Noise
    from refgen.systems.system import draw, generative
    from refgen.training import Run, RunError

    with terms.refusing(RunError):
        record = Run.open(Path(args.folder))
    plan = settings.plan_of(record)
    state, notes = record.latest()
    for note in notes:
        terms.say(note)
    if state is None:
        raise terms.Refusal(
            f"{record.path} has no checkpoint to draw from: "
            f"`refgen train {plan.entry.id} --resume --out {record.path}` goes on with it"
        )
    ops, chosen = backends.choose(args.backend or plan.backend)
    with terms.refusing():
        system = generative(plan.build(ops))
    request = _request(args, system)
    learned = terms.several(state.step, "step")
    terms.say(f"drawing {args.n} from {plan.entry.id} after {learned}, backend {chosen}")
    _say_what_is_drawn(system, request)
    with terms.refusing():  # a sampler or steps that the system does not have
        samples = draw(
            system,
            state.average,
            args.n,
            Noise(args.seed).at("sample"),
            sampler=args.sampler,
            steps=args.steps,
            request=request,
        )
    if not np.all(np.isfinite(samples)):
        raise terms.Refusal("samples are not finite: take more steps", terms.NUMERIC)
    if args.npz:
        content = io.BytesIO()
        np.savez(content, samples=samples, allow_pickle=False)
        terms.write_whole(Path(args.npz), content.getvalue())
        print(args.npz)
    if args.out or not args.npz:
        path = Path(args.out or record.path / "samples" / f"drawn-{_slug(args, request)}.png")
        asked = {name: getattr(request, name) for name in request.asked}
        title = pictures.titled(plan.entry.id, state.step, args.sampler, args.steps, **asked)
        rollouts.show(system, samples, _beside(plan, samples), path, title)
        print(path)
    return terms.OK


def _request(args: argparse.Namespace, system: "System") -> "Request":
    """Return what the flags ask for. Raises Refusal where the system does not understand it."""
    from refgen.systems import SYSTEMS
    from refgen.systems.system import Request, refuse_request

    between = (args.between[0], args.between[1]) if args.between else None
    request = Request(args.label, args.caption, args.guidance, between)
    try:
        refuse_request(system, request)
    except ValueError as error:
        flags = ", ".join(f"--{name}" for name in request.asked)
        able = [
            entry.id
            for entry in SYSTEMS.values()
            if set(request.asked) <= set(getattr(entry.make, "requests", ()))
        ]
        hint = f"; systems that do: {', '.join(able)}" if able else ""
        raise terms.Refusal(f"{flags}: {error}{hint}") from error
    if between:
        _refuse_interval(between, getattr(system, "guidance", 1.0), args.guidance)
    return request


def _refuse_interval(between: tuple[float, float], usual: float, asked: float | None) -> None:
    """Raise Refusal for an interval that is none, or with a guidance that it does not change."""
    low, high = sorted(between)
    if not 0 <= between[0] < between[1]:
        mend = f"as --between {low:g} {high:g}" if 0 <= low < high else "as --between 0.5 2"
        raise terms.Refusal(
            f"--between {between[0]:g} {between[1]:g}: the lower noise level comes first, 0 or "
            f"more, {mend}"
        )
    if (usual if asked is None else asked) == 1:
        raise terms.Refusal(
            "--between limits a guidance, and there is none at weight 1: give --guidance too, "
            "as --guidance 2"
        )


def _say_what_is_drawn(system: "System", request: "Request") -> None:
    """Say of a system that is told something that it is told each thing as likely, if not asked."""
    teller = getattr(system, "teller", None)
    if teller and request.label is None and request.caption is None:
        what = "label" if teller.name == "labels" else "caption"
        terms.say(f"no --{what}: each of {teller.count} {what}s is drawn as likely")


def _slug(args: argparse.Namespace, request: "Request") -> str:
    """Return the part of a file's name that says what was asked."""
    said = [f"n{args.n}", f"seed{args.seed}"]
    said += [args.sampler] if args.sampler else []
    said += [f"steps{args.steps}"] if args.steps else []
    said += [f"{name}-{getattr(request, name)}" for name in request.asked]
    return re.sub(r"[^\w.-]+", "-", "-".join(said))


def _number(text: str) -> float:
    """Return a finite float, as an argparse type."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def _beside(plan: settings.Plan, samples: "Array") -> "Array":
    """Return held-out points to show beside samples; the samples where the data are gone."""
    if samples.ndim == 4:
        return samples
    try:
        _, held_out = begin.load(plan.data).split()
    except terms.Refusal as refusal:
        terms.say(f"drawn without the data: {refusal}")
        return samples
    return held_out.data
