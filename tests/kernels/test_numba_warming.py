"""`refgen doctor --warm` leaves no kernel cold."""

from refgen.cli import main
from refgen_kernels.numba_cpu import build, warming


def test_warming_up_compiles_every_kernel_in_both_forms():
    done = list(warming.warm_up())
    assert [i for _, i, _ in done] == list(range(1, len(done) + 1))
    assert warming.cold() == []
    assert not build.Kernel.both, "what runs afterwards runs once"


def test_the_doctor_warms_up(capsys):
    assert main(["doctor", "--warm"]) == 0
    assert build.TARGET in capsys.readouterr().out
