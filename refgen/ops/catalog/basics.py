"""Rows of what the first systems are made of: MLPs, losses, noising, steps, Adam."""

from typing import Any

from refgen.ops.catalog.op import Op, labels, positive, product_flops, same


def _pointwise(name: str, **kwargs: Any) -> Op:
    return Op(name, "activation", {"x": "N *S"}, wrt=("x",), tangent=True, **kwargs)


ROWS = (
    Op(
        "dense",
        "dense",
        {"x": "N *S I", "w": "I O", "b": "O"},
        wrt=("x", "w", "b"),
        tangent=True,
        flops=product_flops("w"),
    ),
    Op(
        "dense_act",
        "dense_act",
        {"x": "N *S I", "w": "I O", "b": "O"},
        wrt=("x", "w", "b"),
        extra="A",
        static=lambda dims: {"activation": ("silu", "gelu", "tanh", "softplus")[dims["A"] - 1]},
        flops=product_flops("w"),
    ),
    _pointwise("relu", analytic=False),
    _pointwise("leaky_relu", analytic=False, static={"slope": 0.2}),
    _pointwise("sigmoid"),
    _pointwise("tanh"),
    _pointwise("silu"),
    _pointwise("softplus"),
    _pointwise("gelu"),
    Op(
        "reparameterize",
        "gaussian",
        same("mu logvar noise", "N D"),
        wrt=("mu", "logvar", "noise"),
    ),
    Op("gaussian_kl", "gaussian", same("mu logvar", "N D"), wrt=("mu", "logvar")),
    Op(
        "reparameterize_kl",
        "gaussian",
        same("mu logvar noise", "N D"),
        wrt=("mu", "logvar"),
        twin=True,
    ),
    Op(
        "gaussian_nll",
        "likelihood",
        {"x": "N D", "mean": "N D", "logvar": "D"},
        wrt=("x", "mean", "logvar"),
    ),
    Op(
        "bernoulli_nll",
        "likelihood",
        same("x logits", "N D"),
        wrt=("x", "logits"),
        draw={"x": lambda rng, shape, dims: rng.uniform(size=shape)},
    ),
    Op(
        "categorical_nll",
        "likelihood",
        {"labels": "N", "logits": "N K"},
        wrt=("logits",),
        draw={"labels": labels},
    ),
    Op(
        "noising",
        "noising",
        {"data": "N *S", "noise": "N *S", "a": "N", "b": "N"},
        wrt=("data", "noise", "a", "b"),
        twin=True,
    ),
    Op(
        "ddpm_step",
        "step",
        same("x noise_hat noise", "N *S"),
        wrt=("x", "noise_hat", "noise"),
        static={"alpha": 0.9, "alpha_bar": 0.4, "sigma": 0.3},
        twin=True,
    ),
    Op(
        "ddim_step",
        "step",
        same("x noise_hat noise", "N *S"),
        wrt=("x", "noise_hat", "noise"),
        static={"alpha_bar": 0.4, "alpha_bar_next": 0.7, "sigma": 0.2},
        twin=True,
    ),
    Op(
        "guided_ddpm_step",
        "step",
        same("x noise_hat noise_hat_null noise", "N *S"),
        wrt=("x", "noise_hat", "noise_hat_null", "noise"),
        static={"guidance": 2.5, "alpha": 0.9, "alpha_bar": 0.4, "sigma": 0.3},
        twin=True,
    ),
    Op(
        "guided_ddim_step",
        "step",
        same("x noise_hat noise_hat_null noise", "N *S"),
        wrt=("x", "noise_hat", "noise_hat_null", "noise"),
        static={"guidance": 2.5, "alpha_bar": 0.4, "alpha_bar_next": 0.7, "sigma": 0.2},
        twin=True,
    ),
    Op(
        "affine_coupling",
        "coupling",
        same("x shift log_scale", "N D"),
        wrt=("x", "shift", "log_scale"),
    ),
    Op("discriminator_loss", "adversarial", same("real fake", "N"), wrt=("real", "fake")),
    Op("minimax_loss", "adversarial", {"fake": "N"}, wrt=("fake",)),
    Op("nonsaturating_loss", "adversarial", {"fake": "N"}, wrt=("fake",)),
    Op(
        "adam_step",
        "adam",
        same("p g m v", "N *S"),
        static={"step": 3, "lr": 0.01},
        draw={"v": positive},
    ),
    Op("ema_step", "adam", same("average p", "N *S"), static={"decay": 0.9}),
    Op(
        "adam_ema_step",
        "adam",
        same("p g m v average", "N *S"),
        static={"step": 3, "lr": 0.01, "decay": 0.9},
        draw={"v": positive},
        twin=True,
    ),
)
