"""Noise: known answers, laws of the address, and the distribution."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from refgen import noise
from refgen.noise import Noise

pytestmark = pytest.mark.tiny
PLACE = Noise(0).at("ddpm", "step", 17)


@pytest.mark.parametrize(
    ("counter_and_key", "block"),
    [
        ("00000000 " * 6, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff " * 6, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            "243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0",  # the digits of pi
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_the_known_answers_of_random123(counter_and_key, block):
    *counter, k0, k1 = [int(word, 16) for word in counter_and_key.split()]
    words = noise.philox4x32(np.array(counter, np.uint32), (k0, k1))
    assert [f"{word:08x}" for word in words] == block.split()


@given(start=st.integers(0, 300), count=st.integers(0, 300))
def test_a_slice_is_the_slice_of_the_whole(start, count):
    for draw in (PLACE.normal, PLACE.uniform, lambda n, start=0: PLACE.integers(9, n, start=start)):
        assert np.array_equal(draw(count, start=start), draw(600)[start : start + count])


def test_far_elements_are_reached_without_the_near_ones():
    """The index has 64 bits: element 2^40 is as cheap as element 0, and the carry is kept."""
    assert np.array_equal(PLACE.normal(99, start=2**40 + 7), PLACE.normal(106, start=2**40)[7:])
    assert not np.array_equal(PLACE.normal(64, start=2**36), PLACE.normal(64))


def test_a_place_is_its_path_and_nothing_else():
    z = PLACE.normal(64)
    assert np.array_equal(z, Noise(0).at("ddpm").at("step").at(np.int64(17)).normal(64))
    others = [Noise(1).at("ddpm", "step", 17), PLACE.at(0), Noise(0).at("ddpm", "step", "17")]
    assert all(not np.array_equal(z, other.normal(64)) for other in others)


def test_addresses_do_not_meet():
    streams = {Noise(0).at("ddpm", "step", i).stream for i in range(100_000)}
    assert len(streams) == 100_000


def test_a_float64_caller_gets_the_float32_values_widened():
    wide, narrow = PLACE.normal((8, 8)), PLACE.normal((8, 8), dtype=np.float32)
    assert (wide.dtype, narrow.dtype) == (np.float64, np.float32)
    assert np.array_equal(wide, narrow)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_does_not_fit_is_refused(seed):
    with pytest.raises(ValueError, match=r"0 \.\. 2\*\*32 - 1"):
        Noise(seed)


def test_draws_have_the_distribution_they_claim():
    assert stats.kstest(PLACE.normal(1_000_000), stats.norm.cdf).pvalue > 1e-3
    assert stats.kstest(PLACE.uniform(1_000_000), stats.uniform.cdf).pvalue > 1e-3


def test_normals_fill_equal_cells_equally():
    """Chi-square over 1,000 equiprobable cells, and over 32 x 32 cells of neighbouring pairs."""
    cells = np.floor(1000 * stats.norm.cdf(PLACE.normal(1_000_000))).astype(int)
    assert stats.chisquare(np.bincount(cells, minlength=1000)).pvalue > 1e-3
    for lag in (1, 16, 32):  # a neighbour, the sine beside the cosine, the other pair
        u = np.floor(32 * stats.norm.cdf(PLACE.normal(1_000_000))).astype(int)
        first = u[(np.arange(u.size) // lag) % 2 == 0][:400_000]
        second = u[(np.arange(u.size) // lag) % 2 == 1][:400_000]
        joint = np.bincount(32 * first + second, minlength=1024)
        assert stats.chisquare(joint).pvalue > 1e-3


def test_integers_are_uniform_and_in_range():
    draws = PLACE.integers(7, 700_000)
    assert stats.chisquare(np.bincount(draws, minlength=7)).pvalue > 1e-3
    assert draws.max() == 6
    with pytest.raises(ValueError, match="below"):
        PLACE.integers(0, 3)


def test_uniforms_are_never_0_or_1(monkeypatch):
    ends = np.array([[[0, 2**32 - 1]]], np.uint32)
    monkeypatch.setattr(noise, "_blocks", lambda *_: ends)
    assert PLACE.uniform(2).tolist() == [2.0**-33, 1 - 2.0**-33]


def box_muller_in_float64(w):
    """Send the same words through libm, in double."""
    u, one_minus_u = (w[:, 0::2] + 0.5) * 2.0**-32, (~w[:, 0::2] + 0.5) * 2.0**-32
    radius = np.sqrt(-2 * np.where(u < 0.5, np.log(u), np.log1p(-one_minus_u)))
    q, t = w[:, 1::2] >> 30, ((w[:, 1::2] & 0x3FFFFFFF) + 0.5) * 2.0**-30 - 0.5
    cos, sin = np.cos(np.pi / 2 * t), np.sin(np.pi / 2 * t)
    turned = np.choose(q, [cos, -sin, -cos, sin]), np.choose(q, [sin, cos, -sin, -cos])
    return np.stack([radius * xy for xy in turned], axis=2).ravel()


def test_normals_are_accurate_and_so_are_their_smallest_and_largest(monkeypatch):
    edges = [0, 1, 2, 2**24 - 1, 2**24 + 1, 0x3FFFFFFF, 2**30, 2**31 - 1]  # both ends of a word,
    edges += [2**31, 0x80000001, 0xB504F333, 0xB504F334]  # where u crosses ½ and √½,
    edges += [0x1FFFFFFF, 0x20000000, 2**32 - 2, 2**32 - 1]  # and where the angle crosses an axis
    pairs = np.array([(a, b) for a in edges for b in edges], np.uint32)  # (256, 2)
    hard = np.tile(pairs.reshape(-1, 16, 2).swapaxes(1, 2), (1, 2, 1))  # (16, 4, 16)
    for w in (noise._blocks(PLACE.stream, 0, 1_000_000), hard):
        monkeypatch.setattr(noise, "_blocks", lambda *_, w=w: w)
        exact = box_muller_in_float64(w)
        error = np.abs(noise.normals(PLACE.stream, 0, w.size) - exact)
        assert (error / np.abs(exact)).max() < 4e-7  # even where z is 1e-14
    assert np.abs(exact).max() == pytest.approx(np.sqrt(66 * np.log(2)), rel=1e-7)  # 6.7637
