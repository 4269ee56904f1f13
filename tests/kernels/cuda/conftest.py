"""Every test of this folder runs kernels on the CPU, and leaves the machine as it found it."""

import pytest

from refgen_kernels.device import use
from tests.kernels.cuda.machines import HOST


@pytest.fixture(autouse=True)
def host(request):
    """Run kernels on the CPU, in order; tests marked gpu run them where they belong."""
    if request.node.get_closest_marker("gpu"):
        yield
        return
    with use(HOST):
        yield
    HOST.order, HOST.seed = "forward", 0
