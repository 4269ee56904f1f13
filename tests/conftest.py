"""Hypothesis profiles, and a header that names the backends that really run."""

import os

from hypothesis import settings

from refgen_kernels import available

settings.register_profile("dev", max_examples=25, deadline=None)
settings.register_profile("ci", max_examples=50, deadline=None, derandomize=True)
settings.register_profile("mutants", max_examples=8, deadline=None, derandomize=True, database=None)
settings.register_profile("deep", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


def pytest_report_header() -> list[str]:
    return [f"backend {name}: {state}" for name, state in available().items()]
