r"""EDM: a preconditioned denoiser, noise levels drawn where there is something to learn.

Lectures   1, 3 (score models; this is their later form)
Source     karras2022-edm  table 1 (network, times, weight), algorithms 1 and 2 (the walks)

x = data + σ noise, and what is learned is the mean of the data, D(x, σ), by a network between a
skip and a scale (objectives/precondition.py). Its loss weighs all levels alike for the network
inside (PR.4). Levels are log-normal in training: little can be learned where σ is tiny, or where x
is all noise.

    log σ ~ N(mean, std²)                                                              (EM.1)

Walks are in σ, down Karras's list to 0: `edm` with noise put in again on the way (churn, between
least and most), `heun` without. The other samplers are those of score_sde.py, with t = σ/σ₁ for
σ₁ = sigma_last.

    sampler    network calls of n steps
    edm        2n − 1
    heun       2n − 1
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from refgen.models.denoiser import denoiser
from refgen.noise import Noise
from refgen.objectives.denoising import Denoising, LogNormalTimes
from refgen.objectives.precondition import Preconditioned, even_weight
from refgen.processes.path import EDM as Line
from refgen.processes.spacing import karras
from refgen.samplers.edm import sample_edm
from refgen.systems.score_sde import Predict, ScoreSDE
from refgen.typing import Array


@dataclass(frozen=True)
class EDM(ScoreSDE):
    """A denoiser D(x, σ), sigma_first ≤ σ ≤ sigma_last on walks.

    mean and std are those of log σ in training; churn, least, most and swell those of the
    stochastic sampler (refgen.samplers.edm); rho bends the list of its levels.
    """

    kind: str = "data"
    weight: str = "edm"
    data_std: float = 0.5
    sampler: str = "edm"
    sample_steps: int = 30
    spacing: str = "karras"
    sigma_first: float = 0.002
    sigma_last: float = 80.0
    mean: float = -1.2
    std: float = 1.2
    rho: float = 7.0
    churn: float = 5.0
    least: float = 0.05
    most: float = 50.0
    swell: float = 1.0
    samplers: ClassVar[tuple[str, ...]] = ("edm", "heun", *ScoreSDE.samplers)
    weights: ClassVar[tuple[str, ...]] = ("edm", *ScoreSDE.weights)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.churn < 0 or not self.std > 0:
            raise ValueError(f"churn ≥ 0 and std > 0, not {self.churn} and {self.std}")
        karras(2, self.sigma_last, self.sigma_first, self.rho)  # refuses levels that cannot be

    @property
    def path(self) -> Line:
        """Noise of σ = sigma_last t."""
        return Line(self.sigma_last)

    @property
    def first(self) -> float:
        """t₀."""
        return self.sigma_first / self.sigma_last

    @property
    def network(self) -> Any:
        """The denoiser D(x, σ)."""
        inner = denoiser(self.model, self.shape, self.hidden, self.blocks, self.ops)
        return Preconditioned(inner, self.data_std)

    @property
    def objective(self) -> Denoising:
        """The denoising loss, told σ, at log-normal levels. Raises ValueError for another kind."""
        if self.kind != "data":
            raise ValueError(f"an EDM says data, not {self.kind!r}: its skip and scale are made so")
        return Denoising(
            self.network,
            self.path,
            "data",
            partial(even_weight, data_std=self.data_std) if self.weight == "edm" else self.weight,
            times=LogNormalTimes(self.mean, self.std, self.sigma_last),  # (EM.1)
            told="sigma",
            ops=self.ops,
        )

    def walk(self, predict: Predict, x: Array, noise: Noise, *, sampler: str, steps: int) -> Array:
        """Return data from x, a draw of N(0, sigma_last²), by a sampler of the lists."""
        if sampler not in ("edm", "heun"):
            return super().walk(predict, x, noise, sampler=sampler, steps=steps)

        def denoise(x: Array, sigma: float) -> Array:
            return x - sigma * predict(x, sigma / self.sigma_last)

        sigmas = karras(steps, self.sigma_last, self.sigma_first, self.rho)
        if sampler == "heun":
            return sample_edm(denoise, x, sigmas, noise, ops=self.ops)
        return sample_edm(
            denoise,
            x,
            sigmas,
            noise,
            churn=self.churn,
            least=self.least,
            most=self.most,
            swell=self.swell,
            ops=self.ops,
        )
