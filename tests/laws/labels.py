"""A world whose labels are known at every noise level, and the two ways to be guided to one."""

import numpy as np

from refgen import check
from refgen.exact import Mixture
from refgen.processes.guidance import by_classifier, classifier_free

# three components, two labels: the first has two of them, and the classes overlap
WORLD = Mixture(
    np.array([0.3, 0.2, 0.5]), np.array([[-1.2], [1.9], [0.5]]), np.array([0.25, 0.09, 0.36])
)
CLASSES = ([0, 1], [2])
NULL = len(CLASSES)
PARTS = [*(WORLD.components(members) for members in CLASSES), WORLD]
POINTS = np.linspace(-3, 3, 13)[:, None]


def answers(kind="noise", levels=lambda t: t):
    """Return the exact prediction of a kind, told labels; t is (a, b) unless levels say more."""

    def predict(x, t, labels):
        a, b = levels(t)
        out = np.empty_like(x)
        for label in np.unique(labels):
            chosen = labels == label
            part = PARTS[label]
            how = {"noise": part.noise_mean, "data": part.data_mean, "score": part.score}[kind]
            out[chosen] = how(x[chosen], a, b)
        return out

    return predict


def log_posterior(x, a, b, label):
    """Return log p(label | x) by Bayes' rule over the components."""
    return np.log(np.sum(WORLD.responsibilities(x, a, b)[:, CLASSES[label]], axis=1))


def log_gradient(label, levels=lambda t: t):
    """Return ∇ log p(label | x), differentiated without the use of any score."""

    def gradient(x, t):
        a, b = levels(t)
        return check.complex_step(
            lambda y: log_posterior(y, a, b, label)[:, None], [x], [np.ones_like(x)]
        )

    return gradient


def told(label, x=POINTS):
    return np.full(len(x), label), np.full(len(x), NULL)


def both_ways(label, guidance, x=POINTS, kind="noise", levels=lambda t: t):
    """Return the two guided predictors of a label."""
    predict = answers(kind, levels)
    names, nothing = told(label, x)

    def unlabelled(x, t):
        return predict(x, t, np.full(len(x), NULL))

    return {
        "free": classifier_free(predict, names, nothing, guidance, levels),
        "classifier": by_classifier(
            unlabelled, log_gradient(label, levels), guidance, levels, kind=kind
        ),
    }
