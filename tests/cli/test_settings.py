"""What is said of settings that cannot be, and what of a recipe gives way to them."""

from dataclasses import fields

import pytest

from refgen import ops
from refgen.cli import settings, terms
from refgen.systems import SYSTEMS
from refgen.training import Recipe

IMAGE, POINT = (8, 8, 1), (2,)


def planned(system, shape, **chosen):
    entry = SYSTEMS[system]
    recipe = entry.recipe("images" if len(shape) == 3 else "points", chosen.get("model", ""))
    return settings.plan(entry, "digits", shape, "numpy", recipe | chosen)


@pytest.mark.parametrize("system", ["ddpm", "improved-ddpm", "diffusion-policy"])
def test_more_sample_steps_than_levels_are_refused(system):
    shape = (20,) if system == "diffusion-policy" else IMAGE
    with pytest.raises(terms.Refusal, match=r"sample_steps=2000 .* T=\d+: take 1 \.\. 10"):
        planned(system, shape, sample_steps=2000)
    with pytest.raises(terms.Refusal, match=r"sample_steps=40 .* T=30"):
        planned(system, shape, sample_steps=40, T=30)
    assert planned(system, shape, sample_steps=30, T=30).settings["sample_steps"] == 30


def test_a_smaller_T_cuts_the_sample_steps_of_the_recipe():
    plan = planned("ddpm", IMAGE, T=10)
    assert plan.settings["sample_steps"] == 100
    assert plan.build(ops).times() == (10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)


def test_a_message_names_only_the_settings_that_are_not_the_recipes():
    with pytest.raises(terms.Refusal) as caught:
        planned("ddpm", IMAGE, hidden=0, clip=1.0).build(ops)
    assert str(caught.value).startswith("ddpm with hidden=0: ")
    with pytest.raises(terms.Refusal) as caught:
        planned("diffusion-policy", (20,), world="navigation", chunk=9).build(ops)
    assert str(caught.value).startswith("diffusion-policy with chunk=9: ")


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_settings_of_a_system_are_listed_with_the_values_of_its_recipes(system):
    head, *lines = (line.split() for line in settings.table(SYSTEMS[system]).splitlines())
    kinds = head[3::2]  # setting, is, on images, on points
    known = {f.name for f in fields(SYSTEMS[system].make)} - {"shape", "ops"}
    assert {line[0] for line in lines} == known | {f.name for f in fields(Recipe)}
    for kind in kinds:
        column = len(kinds) - kinds.index(kind)
        values = {line[0]: line[-column] for line in lines}
        for key, value in SYSTEMS[system].recipe(kind).items():
            assert values[key] == str(value).replace("True", "true").replace("False", "false")


def test_set_help_lists_the_settings_and_trains_nothing(refgen, tmp_path):
    answer = refgen("train", "text-cross-attention", "--set", "help")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[0].split() == ["setting", "is", "on", "images"]
    assert ["drop", "a", "number", "0.1"] in [line.split() for line in answer.out.splitlines()]
    assert not (tmp_path / "runs").exists()
    assert "--set help lists them" in refgen("train", "vae", "--set", "latent").err


def test_a_count_below_0_is_said_to_be_none():
    with pytest.raises(terms.Refusal, match=r"hidden is a count, not -3$"):
        settings.assigned(["hidden=-3"], SYSTEMS["ddpm"])
