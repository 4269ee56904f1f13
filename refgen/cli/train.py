"""`refgen train`: train a system, with pictures on the way and a judgement at the end."""

import argparse
from typing import TYPE_CHECKING, Any

from refgen.cli import backends, begin, judging, pace, terms
from refgen.cli.watch import Watch

if TYPE_CHECKING:
    from refgen.cli.settings import Plan
    from refgen.data import Dataset
    from refgen.systems import System
    from refgen.training import Run, State

EXAMPLE = """
refgen train ddpm                               # the embedded digits, into runs/ddpm-digits
refgen train ddpm --model unet --data fashion
refgen train vae --data toy:moons --steps 2000 --set latent=2
refgen train vae --data toy:moons --resume      # go on where it stopped
"""


def add(commands: terms.Commands) -> None:
    """Declare the command."""
    p = terms.command(commands, "train", run, "train a system", EXAMPLE)
    p.add_argument("system", metavar="SYSTEM", help="`refgen systems` lists them")
    p.add_argument("--data", metavar="D", help="digits, fashion, toy:NAME, a file, a folder")
    p.add_argument("--model", metavar="M", help="the network, for systems that have a choice")
    p.add_argument("--steps", metavar="N", type=terms.integer(1), help="training steps")
    p.add_argument("--batch", metavar="B", type=terms.integer(1), help="examples a step")
    p.add_argument("--lr", metavar="L", type=terms.positive, help="highest learning rate")
    p.add_argument("--seed", metavar="S", type=terms.SEED, help="of all that is drawn (0)")
    p.add_argument("--backend", metavar="B", type=backends.backend, help=backends.HELP)
    p.add_argument("--out", metavar="RUN", help="the run's folder (runs/SYSTEM-DATA)")
    p.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    p.add_argument("--config", metavar="FILE", help="settings in TOML; flags win over it")
    p.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="any setting")
    p.add_argument("--quiet", action="store_true", help="no log and no bar")


def run(args: argparse.Namespace) -> int:
    """Train; 130 or 143 when stopped by a signal, with the state saved."""
    from refgen import ops as reference
    from refgen.systems import find
    from refgen.training import RunError, require_labels, start

    with terms.refusing():
        entry = find(args.system)
    plan, dataset, folder = (begin.resumed if args.resume else begin.new)(args, entry)
    ops, chosen = backends.choose(args.backend or plan.backend)
    system = plan.build(ops)
    with terms.refusing():
        require_labels(system, dataset)
    with terms.refusing(RunError):
        record, state = begin.enter(args, plan, folder)
        with record.locked():
            state = state or start(system, plan.recipe)
            if not args.quiet:
                _introduce(plan, dataset, state, chosen, record)
            return _train(args, plan, system, dataset, record, state, ops is not reference)


def _train(
    args: argparse.Namespace,
    plan: "Plan",
    system: "System",
    dataset: "Dataset",
    record: "Run",
    state: "State",
    kernels: bool,
) -> int:
    import numpy as np

    from refgen.training import NumericFailure, interruptible, train

    train_set, held_out = dataset.split()
    with Watch(system, record, plan, held_out.data, state.step, args.quiet) as watch:
        with (
            terms.refusing(NumericFailure, terms.NUMERIC),
            np.errstate(all="ignore"),  # the loop looks for what is not finite at every step
            interruptible() as stop,
        ):
            state = train(
                system, train_set, plan.recipe, record, state=state, on_step=watch, stop=stop
            )
        if stop.signal:
            terms.say(
                f"stopped at step {state.step} of {plan.recipe.steps}, saved. Go on with\n"
                f"  refgen train {plan.entry.id} --resume --out {record.path}"
            )
            return 128 + stop.signal
        watch.draw(state)
    _conclude(args, plan, system, state, dataset, record, kernels)
    return terms.OK


def _introduce(
    plan: "Plan", dataset: "Dataset", state: "State", backend: str, record: "Run"
) -> None:
    from refgen import tree

    train_set, held_out = dataset.split()
    size = " x ".join(map(str, plan.shape))
    players = ", ".join(f"{name} {tree.size(p):,}" for name, p in state.params.items())
    recipe, done = plan.recipe, f", {state.step} of them done" if state.step else ""
    steps = terms.several(recipe.steps, "step")
    terms.say(
        f"{plan.entry.id} on {dataset.name}: {len(train_set):,} {dataset.kind} of {size} to train "
        f"on, {len(held_out):,} held out\n"
        f"{tree.size(state.params):,} parameters ({players})\n"
        f"{steps} of {recipe.batch}, lr {recipe.lr:g}, seed {recipe.seed}{done}\n"
        f"backend {backend}\n"
        f"writing {record.path}"
    )


def _conclude(
    args: argparse.Namespace,
    plan: "Plan",
    system: "System",
    state: "State",
    dataset: "Dataset",
    record: "Run",
    kernels: bool,
) -> None:
    """Print where things are, how to go on, and what the samples are worth."""
    from refgen.noise import Noise
    from refgen.systems import is_generative

    path = record.path
    print(f"{plan.entry.id} trained for {terms.several(state.step, 'step')}: {path}")
    for what in (f"samples/step-{state.step:06d}.png", "curves.png", "metrics.jsonl"):
        if (path / what).exists():
            print(f"  {path / what}")
    if not args.quiet and kernels:
        train_set, _ = dataset.split()
        print(pace.beside_numpy(plan, system, train_set, state) + pace.memory())
    if is_generative(system):
        print(f"sample it with\n  refgen sample {path} -n 64 --out samples.png")
        for words in _requests(system):
            print(f"  refgen sample {path} {words}")
    if not args.quiet:
        terms.say("judging ...")
    noise = Noise(plan.recipe.seed).at("judge")
    lines = judging.judge(
        plan.entry.id, system, state.average, plan.data, dataset, noise, quiet=args.quiet
    )
    if lines:
        print("\n".join(lines))


def _requests(system: Any) -> list[str]:
    """Return the words that ask a system for something it has learned, where it can be asked."""
    from refgen.systems.telling import ByCaption

    if not getattr(system, "requests", ()):
        return []
    if isinstance(system.teller, ByCaption):
        return [f'--caption "{system.teller.language.sentences[-1]}" --guidance 2']
    return [f"--label {min(3, system.teller.count - 1)} --guidance 2"]
