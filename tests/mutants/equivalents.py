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
    (
        "ops/likelihood",
        "categorical_nll_forward",
        "off by one",
        "nll = (np.log(total) - chosen)[:, 0]  # (L.3)",
        "-1",
    ): "the sum over classes leaves one column, which is the first and the last",
    (
        "ops/embedding",
        "sinusoidal_embedding_forward",
        "off by one",
        'if dim <= 0 or dim % 2 or (dim == 2 and spacing == "half_minus_one"):',
        "1",
    ): "a dim of 1 is odd, and refused as such",
    (
        "layers/conv",
        "Conv2d.forward",
        "dropped term",
        "around = (self.kernel - 1) // 2 if self.padding is None else self.padding",
        "self.kernel",
    ): "without a padding the kernel is odd, and (k − 1) // 2 is k // 2",
    (
        "layers/conv",
        "Conv2d.forward",
        "off by one",
        "around = (self.kernel - 1) // 2 if self.padding is None else self.padding",
        "0",
    ): "without a padding the kernel is odd, and (k − 1) // 2 is k // 2",
    (
        "layers/condition",
        "Condition.forward",
        "off by one",
        "lookup, index = None, self._label.labels(labels, t.shape[0])",
        "-1",
    ): "t has one axis, which is the first and the last",
}
