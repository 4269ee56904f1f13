"""The protocol for toys: what passes, what does not, and the evidence that is committed."""

import json

import numpy as np
import pytest

from benchmarks import toys, toys_taught
from refgen.data.toys import toy
from refgen.exact import Mixture
from refgen.metrics import mode_statistics, sliced_ratio, toy_protocol
from refgen.noise import Noise
from refgen.processes import VP, log_uniform, times_on_path
from refgen.samplers import sample_dpm_solver_2m, trace

TOY = Mixture(np.array([0.25, 0.75]), np.array([[-1.0, 0.0], [1.0, 0.5]]), np.array([0.04, 0.01]))
MODES = TOY.means, TOY.weights, np.sqrt(TOY.var)


def judged(sample, draws=5, count=4000):
    return toy_protocol(sample, TOY, MODES, Noise(1), count, draws)


def replaced(weights=TOY.weights, means=TOY.means, var=TOY.var):
    """Return a model that is the toy but for what is given."""
    world = Mixture(np.asarray(weights), np.asarray(means), np.asarray(var))
    return world.sample


def test_the_toy_passes_its_own_protocol():
    found = judged(TOY.sample, draws=20)
    assert found.passes
    assert abs(found.ratio - 1) < 0.44
    assert 0.2 < found.deviation < 2  # medians over the sets: a perfect model has some of each
    assert 0 < found.spread < 0.05


@pytest.mark.parametrize(
    ("wrong", "figure"),
    [
        (replaced(weights=[0.29, 0.71]), "deviation"),
        (replaced(var=1.3 * TOY.var), "spread"),
        (replaced(var=0.75 * TOY.var), "spread"),
        (replaced(means=TOY.means + 0.12), "ratio"),
        (replaced(means=TOY.means[:1].repeat(2, axis=0)), "deviation"),
    ],
    ids=["weights", "too wide", "too narrow", "moved", "one mode is lost"],
)
def test_whatever_is_wrong_is_seen_by_its_own_figure(wrong, figure):
    found = judged(wrong)
    assert not found.passes
    bars = {"ratio": 1.44, "deviation": 3.0, "spread": 0.1}
    assert getattr(found, figure) > bars[figure]
    if figure == "ratio":  # what is moved as a whole keeps its weights and widths
        assert found.deviation < 3
        assert found.spread < 0.1


def test_a_mode_that_no_sample_is_in_has_no_spread_and_does_not_pass():
    found = judged(replaced(weights=[1e-12, 1 - 1e-12]), draws=2)
    assert found.spread == np.inf
    assert not found.passes


def test_its_figures_are_those_of_its_parts():
    found = judged(replaced(weights=[0.29, 0.71]), draws=3)
    assert found.ratio == sliced_ratio(
        replaced(weights=[0.29, 0.71]), TOY, Noise(1), count=4000, draws=3
    )
    parts = [
        mode_statistics(
            replaced(weights=[0.29, 0.71])(4000, Noise(1).at("draw", i).at("model")), *MODES
        )
        for i in range(3)
    ]
    assert found.deviation == np.median([np.abs(part.deviation).max() for part in parts])
    assert found.spread == np.median([np.abs(part.spread - 1).max() for part in parts])


def test_a_good_sampler_with_the_best_prediction_passes_and_a_coarse_one_does_not():
    path = VP()

    def sampled(steps):
        times = times_on_path(path, log_uniform(steps, 150.0, 0.02))

        def predict(x, t):
            a, b, _, _ = path.levels(t)
            return TOY.noise_mean(x, float(a), float(b))

        def sample(count, noise):
            return sample_dpm_solver_2m(predict, noise.normal((count, 2)), path, times=times)

        return sample

    assert judged(sampled(60), draws=10).passes
    assert not judged(sampled(6)).passes


def test_the_ring_has_the_modes_that_the_protocol_asks_for():
    ring = toy("ring")
    assert toy_protocol(ring.sample, ring, ring.modes, Noise(0), 4000, 8).passes


# The toy of benchmarks/toys.py, its samplers and what was found.


def test_the_toy_of_the_benchmark_passes():
    assert toy_protocol(
        toys_taught.WORLD.sample, toys_taught.WORLD, toys_taught.MODES, Noise(2), 4000, 8
    ).passes


@pytest.mark.parametrize("name", toys.SAMPLERS)
def test_a_sampler_makes_the_calls_that_its_row_says(name):
    row = toys.SAMPLERS[name]
    watched, visited = trace(toys.exact)
    x = row.walk(toys.Start(watched, 3, Noise(0), row.steps))
    assert len(visited) == row.calls(row.steps)
    assert x.shape == (3, 2)
    assert x.dtype == np.float32
    assert np.abs(x).max() < 4
    assert min(t for t, _ in visited) >= toys_taught.FIRST - 1e-9  # no time that was not learned


def test_a_path_with_the_same_noise_over_signal_is_served_by_the_same_network():
    x = 3.0 * Noise(1).normal((5, 2))
    for sigma in (0.05, 0.7, 20.0):
        found = toys.noise_at(toys.exact, x, sigma)
        np.testing.assert_allclose(found, toys_taught.WORLD.noise_mean(x, 1.0, sigma), rtol=1e-9)


def committed(name):
    return json.loads((toys_taught.FOLDER / name).read_text())


def test_every_trained_kind_is_near_the_bayes_optimum():
    found = committed("bayes.json")
    assert set(found["kinds"]) == set(toys_taught.KINDS)
    assert found["seeds"] == len(toys_taught.SEEDS)
    for kind in found["kinds"].values():
        assert kind["ratio"] <= toys_taught.BAR
        assert [row["t_last"] for row in kind["deciles"]] == list(range(100, 1001, 100))


def test_samples_of_every_sampler_pass_but_for_those_that_are_known_to_fail():
    found = committed("samplers.json")
    assert set(found["samplers"]) == set(toys.SAMPLERS)
    assert found["draws"] == 20
    failed = {name for name, row in found["samplers"].items() if not row["passes"]}
    assert failed == set(toys.FAILS)
