"""Every op and network beside PyTorch's autograd, in float64, where it is installed."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import ops, tree
from refgen.models import DiT, UNet, dcgan_discriminator, dcgan_generator
from refgen.noise import Noise
from refgen.ops.catalog import CATALOG
from tests.strategies import calls, draw_like
from tests.torch_networks import discriminator, dit, generator, unet

torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is only a witness here")
F = torch.nn.functional
torch.set_num_threads(1)
RELATIVE = 1e-10


def first(x):
    """Return channels last as channels first."""
    return x.movedim(-1, 1)


def last(x):
    """Return channels first as channels last."""
    return x.movedim(1, -1)


def conv2d(x, w, b, stride, padding, groups):
    w = w.permute(3, 2, 0, 1).contiguous()
    y = F.conv2d(first(x), w, b, stride, padding, groups=groups)
    return last(y)


def conv_transpose2d(x, w, b, stride, padding, output_padding, groups):
    y = F.conv_transpose2d(
        first(x), w.permute(3, 2, 0, 1).contiguous(), b, stride, padding, output_padding, groups
    )
    return last(y)


def space_to_depth(x, block):
    n, h, w, c = x.shape
    deep = last(F.pixel_unshuffle(first(x), block))  # channels in the order (c, u, v)
    deep = deep.reshape(n, h // block, w // block, c, block * block)
    return deep.transpose(3, 4).reshape(n, h // block, w // block, block * block * c)


def depth_to_space(x, block):
    n, h, w, c = x.shape
    deep = x.reshape(n, h, w, block * block, c // block**2).transpose(3, 4)
    return last(F.pixel_shuffle(first(deep.reshape(n, h, w, c)), block))


def patchify(x, patch):
    return space_to_depth(x, patch).flatten(1, 2)


def unpatchify(x, patch, height, width):
    return depth_to_space(x.unflatten(1, (height // patch, width // patch)), patch)


def batch_norm(x, gamma, beta):
    axes = tuple(range(x.ndim - 1))
    y = last(F.batch_norm(first(x), None, None, gamma, beta, training=True, eps=1e-5))
    return y, x.mean(axes), x.var(axes, unbiased=False)


def fixed_norm(x, gamma, beta, mean, var):
    return (x - mean) * torch.rsqrt(
        var + 1e-5
    ) * gamma + beta  # F.batch_norm has no gradient of var


def group_norm(x, gamma, beta, groups):
    return last(F.group_norm(first(x), groups, gamma, beta, eps=1e-5))


def adain(content, style):
    c, s = content.flatten(1, -2), style.flatten(1, -2)
    spread = (s.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    bare = F.instance_norm(c.transpose(1, 2), eps=1e-5).transpose(1, 2)
    return (bare * spread + s.mean(1, keepdim=True)).reshape(content.shape)


def wide(a, x):
    return a.reshape(a.shape[0], *[1] * (x.ndim - 2), a.shape[1])


def film(x, scale, shift):
    return torch.addcmul(wide(shift, x), 1 + wide(scale, x), x)


def adaln(x, scale, shift):
    return film(F.layer_norm(x, x.shape[-1:], eps=1e-6), scale, shift)


def attention(q, k, v, mask, heads):
    q, k, v = (a.unflatten(-1, (heads, -1)).transpose(1, 2) for a in (q, k, v))
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return y.transpose(1, 2).flatten(2)


def clock(t, dim, order="sin_cos", spacing="half", scale=1.0):
    half = dim // 2
    steps = torch.arange(half, dtype=t.dtype)
    angle = (
        scale
        * t[:, None]
        * torch.exp(-math.log(1e4) * steps / (half if spacing == "half" else max(half - 1, 1)))
    )
    sin, cos = angle.sin(), angle.cos()
    if order == "interleaved":
        return torch.stack([sin, cos], -1).flatten(1)
    return torch.cat([sin, cos] if order == "sin_cos" else [cos, sin], 1)


def minibatch_std(x):
    s = (x.var(0, unbiased=False) + 1e-8).sqrt().mean()
    return torch.cat([x, s.expand(*x.shape[:-1], 1)], -1)


def kl(mu, logvar):
    q = torch.distributions.Normal(mu, (0.5 * logvar).exp())
    return torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(1)


def reparameterized(mu, logvar, noise):
    return mu + logvar.exp().sqrt() * noise


def gaussian_nll(x, mean, logvar):
    normal = torch.distributions.Normal(mean, logvar.exp().sqrt())
    return -normal.log_prob(x).sum(1)


def ddpm_step(x, noise_hat, noise, alpha, alpha_bar, sigma):
    mean = (x - (1 - alpha) / math.sqrt(1 - alpha_bar) * noise_hat) / math.sqrt(alpha)
    return mean + sigma * noise


def ddim_step(x, noise_hat, noise, alpha_bar, alpha_bar_next, sigma):
    data = (x - math.sqrt(1 - alpha_bar) * noise_hat) / math.sqrt(alpha_bar)
    along = math.sqrt(1 - alpha_bar_next - sigma**2) * noise_hat
    return math.sqrt(alpha_bar_next) * data + along + sigma * noise


def guided(step):
    """Take a step along torch's interpolation between the two answers, which goes beyond them."""

    def along(x, noise_hat, noise_hat_null, noise, guidance, **levels):
        return step(x, torch.lerp(noise_hat_null, noise_hat, guidance), noise, **levels)

    return along


def spectral_norm(w, u, v):
    return w / torch.einsum("i,io,o->", u, w.flatten(0, -2), v)


ACTIVATIONS = {"silu": F.silu, "gelu": F.gelu, "tanh": torch.tanh, "softplus": F.softplus}
TORCH = {
    "dense": lambda x, w, b: F.linear(x, w.T, b),
    "dense_act": lambda x, w, b, activation: ACTIVATIONS[activation](F.linear(x, w.T, b)),
    "relu": F.relu,
    "leaky_relu": lambda x, slope: F.leaky_relu(x, slope),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "softplus": F.softplus,
    "gelu": F.gelu,
    "reparameterize": reparameterized,
    "gaussian_kl": kl,
    "reparameterize_kl": lambda mu, logvar, noise: (
        reparameterized(mu, logvar, noise),
        kl(mu, logvar),
    ),
    "gaussian_nll": gaussian_nll,
    "bernoulli_nll": lambda x, logits: F.binary_cross_entropy_with_logits(
        logits, x, reduction="none"
    ).sum(1),
    "squared_error": lambda x, target: (
        F.mse_loss(x, target, reduction="none").reshape(len(x), -1).sum(1)
    ),
    "categorical_nll": lambda labels, logits: F.cross_entropy(logits, labels, reduction="none"),
    "sinusoidal_embedding": clock,
    "noising": lambda data, noise, a, b: (
        torch.einsum("n...,n->n...", data, a) + torch.einsum("n...,n->n...", noise, b)
    ),
    "ddpm_step": ddpm_step,
    "ddim_step": ddim_step,
    "guided_ddpm_step": guided(ddpm_step),
    "guided_ddim_step": guided(ddim_step),
    "euler_step": lambda x, velocity, dt: torch.add(x, velocity, alpha=dt),
    "heun_step": lambda x, velocity, velocity_next, dt: torch.add(
        x, torch.stack([velocity, velocity_next]).mean(0), alpha=dt
    ),
    "langevin_step": lambda x, score, noise, step: (
        torch.add(x, score, alpha=step) + math.sqrt(2 * step) * noise
    ),
    "affine_coupling": lambda x, shift, log_scale: (
        torch.addcmul(shift, x, log_scale.exp()),
        log_scale.sum(1),
    ),
    "discriminator_loss": lambda real, fake: -F.logsigmoid(real) - F.logsigmoid(-fake),
    "minimax_loss": lambda fake: F.logsigmoid(-fake),
    "nonsaturating_loss": lambda fake: -F.logsigmoid(fake),
    "conv2d": conv2d,
    "conv_transpose2d": conv_transpose2d,
    "upsample_conv2d": lambda x, w, b, padding: conv2d(
        last(F.interpolate(first(x), scale_factor=2)), w, b, 1, padding, 1
    ),
    "shift": lambda x, v: x + wide(v, x),
    "concat": lambda x, z: torch.cat([x, z], -1),
    "nearest_upsample": lambda x, factor: last(F.interpolate(first(x), scale_factor=factor)),
    "average_downsample": lambda x, factor: last(F.avg_pool2d(first(x), factor)),
    "space_to_depth": space_to_depth,
    "depth_to_space": depth_to_space,
    "patchify": patchify,
    "unpatchify": unpatchify,
    "group_norm": group_norm,
    "layer_norm": lambda x, gamma, beta: F.layer_norm(x, x.shape[-1:], gamma, beta, eps=1e-5),
    "batch_norm": batch_norm,
    "fixed_norm": fixed_norm,
    "instance_norm": lambda x, gamma, beta: group_norm(x, gamma, beta, x.shape[-1]),
    "adain": adain,
    "film": film,
    "adaln": adaln,
    "gate": lambda x, branch, gate: torch.addcmul(x, wide(gate, x), branch),
    "group_norm_silu": lambda *a, groups: F.silu(group_norm(*a, groups)),
    "group_norm_film_silu": lambda x, gamma, beta, scale, shift, groups: F.silu(
        film(group_norm(x, gamma, beta, groups), scale, shift)
    ),
    "softmax": lambda x: F.softmax(x, -1),
    "attention": attention,
    "embedding_lookup": lambda index, table: F.embedding(index, table),
    "dropout": lambda x, uniform, rate: torch.where(uniform >= rate, x / (1 - rate), 0.0),
    "minibatch_std": minibatch_std,
    "safe_norm": lambda x: torch.linalg.vector_norm(x.reshape(len(x), -1), dim=1),
    "spectral_norm": spectral_norm,
}
ALONE = {"straight_through_round": "its gradient is chosen, no derivative of the rounding"}


def test_every_op_with_a_gradient_is_compared_or_has_a_reason():
    assert {op.name for op in CATALOG if op.wrt} == TORCH.keys() | ALONE.keys()


def close(ours, theirs):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape
    assert np.isfinite(theirs).all()  # or every finite number would be close to it
    scale = max(1.0, np.abs(theirs).max(initial=0.0))
    assert np.abs(ours - theirs).max(initial=0.0) <= RELATIVE * scale


@pytest.mark.parametrize("op", [op for op in CATALOG if op.name in TORCH], ids=lambda op: op.name)
@given(data=st.data())
def test_an_op_and_its_gradient_are_pytorchs(op, data):
    arrays, static, rng = data.draw(calls(op))
    *ys, cache = getattr(ops, op.forward)(**arrays, **static)
    dys = [draw_like(rng, y) for y in ys]
    grads = getattr(ops, f"{op.name}_backward")(*dys, cache)
    tensors = {k: torch.tensor(a, requires_grad=k in op.wrt) for k, a in arrays.items()}
    found = TORCH[op.name](*tensors.values(), **static)
    found = found if isinstance(found, tuple) else (found,)
    for ours, theirs in zip(ys, found, strict=True):
        close(ours, theirs)
    inputs = [tensors[name] for name in op.wrt]
    theirs = torch.autograd.grad(found, inputs, [torch.tensor(dy) for dy in dys])
    for ours, gradient in zip(grads if isinstance(grads, tuple) else (grads,), theirs, strict=True):
        close(ours, gradient)


def drawn(model, seed):
    rng = np.random.default_rng(seed)
    return tree.map(lambda a: a + 0.3 * rng.normal(size=a.shape), model.init(Noise(0))), rng


def compare(run, backward, theirs, params, inputs, rng):
    """Compare outputs, and the gradients of every input and of every parameter."""
    y, cache = run(params, *inputs)
    dy = rng.normal(size=y.shape)
    dinputs, grads = backward(dy, cache)
    dinputs = dinputs if isinstance(dinputs, tuple) else (dinputs,)
    leaves = {k: torch.tensor(a, requires_grad=True) for k, a in tree.flatten(params).items()}
    tensors = [torch.tensor(x, requires_grad=True) for x in inputs]
    found = theirs(leaves, *tensors)
    close(y, found)
    gradients = torch.autograd.grad(found, [*tensors, *leaves.values()], torch.tensor(dy))
    flat = tree.flatten(grads)
    assert flat.keys() == leaves.keys()
    ours = [*dinputs, *(flat[name] for name in leaves)]
    for gradient, their_gradient in zip(ours, gradients, strict=True):
        close(gradient, their_gradient)


@pytest.mark.parametrize("steering", ["added", "film"])
def test_a_unet_is_pytorchs_with_the_same_weights(steering):
    model = UNet(
        (8, 4, 2),
        8,
        (1, 2),
        2,
        attention=(1,),
        heads=2,
        groups=4,
        steering=steering,
        classes=3,
        image=1,
        context=5,
    )
    params, rng = drawn(model, 0)
    x, image = rng.normal(size=(3, 8, 4, 2)), rng.normal(size=(3, 8, 4, 1))
    tokens, t, labels = rng.normal(size=(3, 6, 5)), np.array([1, 30, 900]), np.array([0, 3, 2])
    compare(
        lambda p, x, image, tokens: model.forward(p, x, t, labels, image=image, tokens=tokens),
        model.backward_inputs,
        lambda p, *given: unet(model, p, torch.tensor(t), torch.tensor(labels), *given),
        params,
        (x, image, tokens),
        rng,
    )


def test_a_dit_is_pytorchs_with_the_same_weights():
    model = DiT((4, 8, 2), 2, 8, 3, 2, classes=3)
    params, rng = drawn(model, 1)
    x, t, labels = rng.normal(size=(3, 4, 8, 2)), np.array([1, 30, 900]), np.array([0, 3, 2])
    compare(
        lambda p, x: model.forward(p, x, t, labels),
        model.backward,
        lambda p, x: dit(model, p, torch.tensor(t), torch.tensor(labels), x),
        params,
        (x,),
        rng,
    )


def in_training(chain):
    """Return the forward of a chain that normalizes by its batch."""

    def run(params, x):
        y, _, cache = chain.train(params, x)
        return y, cache

    return run


def test_a_dcgan_generator_in_training_is_pytorchs_with_the_same_weights():
    shape = (16, 24, 2)  # two levels, so that a norm follows a transposed convolution
    chain = dcgan_generator(shape, 3, 4)
    params, rng = drawn(chain, 2)
    z = rng.normal(size=(5, 3))
    compare(
        in_training(chain), chain.backward, lambda p, z: generator(shape, p, z), params, (z,), rng
    )


def test_a_dcgan_discriminator_in_training_is_pytorchs_with_the_same_weights():
    shape = (16, 24, 2)  # two levels, so that a norm follows a convolution
    chain = dcgan_discriminator(shape, 4)
    params, rng = drawn(chain, 3)
    x = rng.normal(size=(5, *shape))
    compare(in_training(chain), chain.backward, discriminator, params, (x,), rng)
