"""A training that is stopped, saved, read again and ended."""

from refgen.training import Run, train
from refgen.training.loop import start, take_step


def stopped_and_ended(system, data, recipe, stop, folder):
    """Return the state at the end of a run that was stopped after so many steps."""
    run = Run.create(folder, {"steps": recipe.steps})
    state = start(system, recipe)
    for _ in range(stop):
        state, _ = take_step(system, data, recipe, state)
    run.save(state)
    again, _ = run.latest()
    return train(system, data, recipe, run, state=again)
