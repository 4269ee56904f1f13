"""Planted errors: wrong versions of the project's own lines, each of which a test must catch.

    python -m tests.mutants                     # 80 errors over all pages, a few minutes
    python -m tests.mutants --page conv --count 30
    python -m tests.mutants --all               # every error that the operators can plant

An operator is a way to be wrong: a sign, a dropped term, a missing sum over the batch. It is put
to one place of one function, the tests of that page run, and the first that fails is named. One
that none catches is either the same function in other words, and then equivalents.py says why,
or a hole in the tests.
"""
