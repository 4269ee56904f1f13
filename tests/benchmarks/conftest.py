"""A machine without a GPU, for the benchmark of one."""

import pytest

from refgen_kernels.device import use


@pytest.fixture
def host():
    """Run .cu files on the CPU."""
    from tests.kernels.cuda.machines import HOST

    with use(HOST):
        yield HOST
