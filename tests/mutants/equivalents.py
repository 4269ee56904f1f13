"""Errors that are none: what the operators make of a line that means the same, and why.

The key is (page, function, operator, text of the line, what is put there). An entry that no
operator makes any more is a mistake here, and a test says so.
"""

EQUIVALENT: dict[tuple[str, str, str, str, str], str] = {
    (
        "layers/batch_norm",
        "ClassBatchNorm._bare",
        "off by one",
        "init = self._norm.init(Noise(0))",
        "1",
    ): "a norm starts at scale 1 and shift 0: its init draws nothing from the noise it is given",
}
