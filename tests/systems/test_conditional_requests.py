"""Systems that are told something: what they can be asked, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest

from refgen.noise import Noise
from refgen.processes.guidance import Guidance
from refgen.systems.ddpm import DDPM
from refgen.systems.system import Request, draw, refuse_request
from refgen.systems.walking import answers
from tests.systems.conditional import IMAGE, POINT, cases, each, moved


@each
def test_samples_depend_on_the_place_alone_and_steps_are_refused(name):
    system = cases()[name]
    params = system.init(Noise(0))
    assert np.array_equal(*(draw(system, params, 2, Noise(3)) for _ in range(2)))
    assert not np.array_equal(draw(system, params, 2, Noise(3)), draw(system, params, 2, Noise(4)))
    with pytest.raises(ValueError, match=r"1 \.\. 6 sampling steps"):
        draw(system, params, 2, Noise(3), steps=7)
    with pytest.raises(ValueError, match="no sampler 'dim'"):
        draw(system, params, 2, Noise(3), sampler="dim")


@pytest.mark.parametrize("name", ["cfg unet", "cfg of points", "latent mlp", "classifier guidance"])
def test_a_label_and_a_weight_are_heard(name):
    system = cases()[name]
    params = moved(system)

    def out(**asked):
        return draw(system, params, 3, Noise(1), request=Request(**asked))

    one, two = out(label=1, guidance=2.0), out(label=2, guidance=2.0)
    assert not np.allclose(one, two)
    assert not np.allclose(one, out(label=1))
    np.testing.assert_array_equal(out(label=1, guidance=0.0), out(label=2, guidance=0.0))
    np.testing.assert_array_equal(out(label=1), out(label=1, guidance=1.0))
    drawn = draw(system, params, 200, Noise(1))
    by_label = [draw(system, params, 200, Noise(1), request=Request(label=y)) for y in range(3)]
    axes = tuple(range(1, drawn.ndim))
    whose = np.array([np.isclose(drawn, own, atol=1e-9).all(axis=axes) for own in by_label])
    assert np.all(whose.sum(axis=0) == 1)  # nobody asked: each sample has some label
    assert whose.sum(axis=1).min() > 40


def test_a_caption_is_heard():
    for name in ("text", "text frozen", "latent text"):
        system = cases()[name]
        params = moved(system)

        def out(caption, system=system, params=params):
            return draw(system, params, 2, Noise(1), request=Request(caption=caption))

        one, other = out("one dark thing0"), out("one bright thing0")
        assert not np.allclose(one, other)
        assert np.array_equal(one, out("One DARK thing0"))


def test_asking_for_nothing_is_the_unconditional_model():
    """γ = 0 walks by the null label: the very walk of DDPM with the network told nothing."""
    system = replace(cases()["cfg mlp"], drop=0.5)
    params = moved(system)
    asked = draw(system, params, 3, Noise(5), request=Request(guidance=0.0))
    plain = DDPM(IMAGE, T=6, hidden=16, blocks=1)
    x = Noise(5).at("start").normal((3, *IMAGE))

    def predict(x, t):
        return answers(system.network, params["model"], x, t, {"labels": np.full(len(x), 3)})

    np.testing.assert_array_equal(asked, plain.walk(predict, x, Noise(5)))


@pytest.mark.parametrize(("gamma", "sizes"), [(None, {3}), (0.0, {3}), (2.0, {6})])
def test_both_answers_come_from_one_call_on_twice_the_batch(monkeypatch, gamma, sizes):
    from refgen.systems import guided

    system, seen = cases()["cfg of points"], []

    def watch(network, params, x, t, given):
        seen.append((t, len(x)))
        return answers(network, params, x, t, given)

    monkeypatch.setattr(guided, "answers", watch)
    draw(system, system.init(Noise(0)), 3, Noise(1), request=Request(guidance=gamma))
    assert [t for t, _ in seen] == [6, 5, 4, 3, 2, 1]
    assert {n for _, n in seen} == sizes


def test_guidance_is_confined_to_its_interval():
    whole, none = cases()["cfg of points"], cases()["cfg of points"]
    params = moved(whole)
    schedule = whole.process
    ratio = schedule.spread(np.arange(1, 7)) / schedule.signal(np.arange(1, 7))
    asked = Request(label=1, guidance=3.0)
    some = replace(whole, guide_above=float(ratio[1]) + 1e-9, guide_below=float(ratio[3]) + 1e-9)
    assert some.guide(asked) == Guidance(3.0, some.guide_above, some.guide_below)
    now = replace(asked, between=(some.guide_above, some.guide_below))
    assert whole.guide(now) == some.guide(asked) != whole.guide(asked)
    everywhere = draw(whole, params, 3, Noise(1), request=asked)
    inside = draw(some, params, 3, Noise(1), request=asked)
    nowhere = draw(replace(none, guide_above=1e9), params, 3, Noise(1), request=asked)
    assert not np.allclose(everywhere, inside)
    assert not np.allclose(nowhere, inside)
    plain = draw(none, params, 3, Noise(1), request=Request(label=1))
    np.testing.assert_array_equal(nowhere, plain)


@pytest.mark.parametrize(
    ("system", "request_", "said"),
    [
        (DDPM(POINT), Request(label=1), "^ddpm takes no label: it was trained without any"),
        (
            cases()["text"],
            Request(label=1),
            "^text-cross-attention takes no label: it",
        ),
        (cases()["cfg unet"], Request(caption="one"), "takes no caption: it takes label, guidance"),
        (cases()["super-resolution"], Request(guidance=2.0), "takes no guidance"),
    ],
)
def test_what_a_system_does_not_understand_is_refused(system, request_, said):
    with pytest.raises(ValueError, match=said):
        refuse_request(system, request_)
    with pytest.raises(ValueError, match=said):
        draw(system, system.init(Noise(0)), 1, Noise(0), request=request_)
    refuse_request(system, Request())


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("cfg unet", Request(label=3), "labels are 0 .. 2, not 3"),
        ("cfg unet", Request(label=-1), "labels are 0 .. 2, not -1"),
        ("classifier guidance", Request(label=7), "labels are 0 .. 2"),
        ("text", Request(caption="two dark thing0"), "did you mean"),
        (
            "latent",
            Request(caption="one dark thing0"),
            "^the network was told labels, not",
        ),
        ("latent text", Request(label=1), "^the network was told captions, not labels"),
    ],
)
def test_a_request_for_what_was_not_learned_is_refused(name, asked, said):
    system = cases()[name]
    with pytest.raises(ValueError, match=said):
        draw(system, system.init(Noise(0)), 1, Noise(0), request=asked)


def test_without_dropped_labels_there_is_nothing_to_guide_by():
    system = replace(cases()["cfg unet"], drop=0.0)
    params = system.init(Noise(0))
    draw(system, params, 1, Noise(0), request=Request(label=1, guidance=1.0))
    with pytest.raises(ValueError, match="drop=0 does not teach"):
        draw(system, params, 1, Noise(0), request=Request(guidance=2.0))
    with pytest.raises(ValueError, match="drop=0 does not teach"):
        replace(system, guidance=2.0)
