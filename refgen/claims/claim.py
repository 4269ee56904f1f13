r"""A claim: an equation as two kinds of code, the right form and the wrong ones, and one check.

A check is handed a form, whichever it is, and answers with a residual: 0 where the form says what
is true, in the units of the claim's tolerance. It finds the truth by another way than the form
does (quadrature, enumeration, a world in closed form, a complex step), and it never learns
whether the form it judges is the right one.

A claim that no wrong form belongs to proves nothing: its check could answer 0 to everything.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from refgen.noise import Noise

Form = Callable[..., Any]
Check = Callable[[Form, Noise], float]  # a form, and where to draw its case -> the residual


@dataclass(frozen=True)
class Claim:
    """An equation that can be false."""

    id: str  # "family.what_it_says", small letters, digits and underscores; some end in O(1/T)
    statement: str  # LaTeX, without the dollars
    family: str
    sources: tuple[str, ...]  # 'L2 "heading of the slide"', or a key of sources.bib
    right: Form  # the project's own code wherever there is some
    wrong: Mapping[str, Form]  # name -> what goes wrong: a sign, a factor, an index, a misprint
    check: Check
    tolerance: float


@dataclass(frozen=True)
class Erratum:
    """A printed equation that is false, beside the one that is meant; one check judges both."""

    id: str  # "E01"
    where: str  # lecture, slide, line
    sentence: str  # what is wrong, in words
    printed: Form
    corrected: Form
    check: Check
    tolerance: float


def select(
    claims: Iterable[Claim], patterns: Sequence[str] = (), family: str = ""
) -> tuple[Claim, ...]:
    """Return the claims whose id matches one of the patterns and whose family is this one.

    A pattern is a beginning ("vae", "vae.kl") or a shell pattern ("*.kl_*"); no pattern means
    every claim, no family every family. Neither minds capitals. Raises ValueError for a pattern
    or a family that nothing answers to.
    """
    claims = tuple(claims)
    families = {c.family.lower(): None for c in claims}
    if family and family.lower() not in families:
        raise ValueError(f"no claim is of the family {family!r}{_meant(family, families)}")
    kept = tuple(c for c in claims if not family or c.family.lower() == family.lower())
    for pattern in patterns:
        if not any(_matches(c.id, pattern) for c in kept):
            ids = [c.id for c in kept]
            raise ValueError(f"no claim matches {pattern!r}{_meant(pattern, ids)}")
    return tuple(c for c in kept if not patterns or any(_matches(c.id, p) for p in patterns))


def _matches(id: str, pattern: str) -> bool:
    id, pattern = id.lower(), pattern.lower()
    return id.startswith(pattern) or fnmatchcase(id, pattern)


def _meant(name: str, known: Iterable[str]) -> str:
    """Return the end of a refusal: what was probably meant, else what there is."""
    known = list(known)
    close = difflib.get_close_matches(name.lower(), [k.lower() for k in known], n=3, cutoff=0.5)
    spelled = [next(k for k in known if k.lower() == c) for c in close]
    if spelled:
        return f"; did you mean {' or '.join(spelled)}?"
    starts = sorted({k.split(".")[0] for k in known})
    return f"; there are {', '.join(starts)}"
