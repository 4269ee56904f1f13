"""What is seen of a training while it runs: progress, sample pictures, loss curves."""

from typing import TYPE_CHECKING, Any

from refgen.cli import pictures, rollouts
from refgen.cli.progress import Progress

if TYPE_CHECKING:
    from refgen.cli.settings import Plan
    from refgen.systems import Generative, System
    from refgen.training import Run, State
    from refgen.typing import Array

PICTURES = 5  # in the course of a run, the last one at its end
IMAGES, POINTS = 64, 2000  # samples in a picture
FAST = 50  # sampling steps of the pictures before the last, where a system has a fast sampler


class Watch:
    """Follows a run step by step: `train(..., on_step=watch)`."""

    def __init__(
        self, system: "System", run: "Run", plan: "Plan", data: "Array", start: int, quiet: bool
    ) -> None:
        self.system, self.run, self.data, self.name = system, run, data, plan.entry.id
        self.seed, self.steps = plan.recipe.seed, plan.recipe.steps
        self.units = {turn.player: turn.unit for turn in system.turns()}
        self.every = max(1, -(-self.steps // PICTURES))
        self.losses: dict[str, float] = {}
        self.progress = Progress(self.steps, "step", start=start, quiet=quiet)
        missing = pictures.drawable()
        self.draws = not missing
        if missing:
            self.progress.say(missing)

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.__exit__()

    def __call__(self, state: "State", row: dict[str, float]) -> None:
        """Show one step."""
        for name, value in row.items():
            player, _, term = name.partition("/")
            if term == "loss":
                before = self.losses.get(player, value)
                self.losses[player] = before + 0.05 * (value - before)
        note = "  ".join(f"{player} {loss:.4g}" for player, loss in self.losses.items())
        self.progress.to(state.step, note.replace("model ", "loss "))
        if state.step % self.every == 0 and state.step < self.steps:
            self.draw(state, fast=True)

    def draw(self, state: "State", *, fast: bool = False) -> None:
        """Write samples/step-N.png and the curves, where pictures can be drawn."""
        if not self.draws:
            return
        from refgen.systems import generative, is_generative

        if is_generative(self.system):
            self.sample(generative(self.system), state, fast)
        history = self.history()
        if history:
            pictures.curves(history, self.run.path / "curves.png", self.units)

    def sample(self, system: "Generative", state: "State", fast: bool) -> None:
        """Write samples/step-N.png."""
        from refgen.noise import Noise
        from refgen.systems import draw

        options: dict[str, Any] = {}
        if fast and "ddim" in system.samplers:
            options = {"sampler": "ddim", "steps": min(FAST, getattr(system, "T", FAST))}
        count = IMAGES if len(system.shape) == 3 else POINTS
        noise = Noise(self.seed).at("pictures")  # the same at every step: one watches them change
        samples = draw(system, state.average, count, noise, **options)
        path = self.run.path / "samples" / f"step-{state.step:06d}.png"
        title = pictures.titled(self.name, state.step, **options)
        rollouts.show(system, samples, self.data, path, title)

    def history(self) -> dict[str, list[tuple[int, float]]]:
        """Return {"player/term": [(step, value), ...]} of the run's log."""
        series: dict[str, list[tuple[int, float]]] = {}
        for row in self.run.rows():
            for name, value in row.items():
                if "/" in name and not name.endswith("/gradient"):
                    series.setdefault(name, []).append((int(row["step"]), float(value)))
        return series
