"""UNet, DiT and DCGAN written a second time, in PyTorch, from weights named by their paths."""


def networks():
    """Return torch and its functions; they are imported where a test asks for them."""
    import torch

    return torch, torch.nn.functional


def linear(p, name, x):
    _, F = networks()
    return F.linear(x, p[f"{name}/w"].T, p[f"{name}/b"])


def conv(p, name, x, stride=1):
    """Convolve an image whose channels come first."""
    _, F = networks()
    w = p[f"{name}/w"].permute(3, 2, 0, 1).contiguous()
    return F.conv2d(x, w, p[f"{name}/b"], stride, padding=(w.shape[-1] - 1) // 2)


def norm(p, name, x, groups):
    _, F = networks()
    return F.group_norm(x, groups, p[f"{name}/gamma"], p[f"{name}/beta"], eps=1e-5)


def condition(p, t, labels, size, dtype):
    torch, F = networks()
    half = size // 2
    omega = 10_000.0 ** (-torch.arange(half, dtype=dtype) / half)
    angle = t.to(dtype)[:, None] * omega
    clock = torch.cat([angle.sin(), angle.cos()], 1)
    h = linear(p, "condition/time/dense1", F.silu(linear(p, "condition/time/dense0", clock)))
    return F.silu(h + p["condition/label/table"][labels])


def attend(q, k, v, heads):
    _, F = networks()
    q, k, v = (a.unflatten(-1, (heads, -1)).transpose(1, 2) for a in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def block(model, p, name, x, e):
    _, F = networks()
    h = conv(p, f"{name}/conv1", F.silu(norm(p, f"{name}/norm1", x, model.groups)))
    v = linear(p, f"{name}/embed", e)[:, :, None, None]
    if model.steering == "film":
        scale, shift = v.chunk(2, 1)
        h = (1 + scale) * norm(p, f"{name}/norm2", h, model.groups) + shift
    else:
        h = norm(p, f"{name}/norm2", h + v, model.groups)
    h = conv(p, f"{name}/conv2", F.silu(h))
    return h + (conv(p, f"{name}/skip", x) if f"{name}/skip/w" in p else x)


def see(model, p, name, x, e, tokens):
    """Apply a block, and attention to pixels and to tokens where the weights have it."""
    x = block(model, p, name, x, e)
    for kind in ("attend", "look"):
        here = f"{name}_{kind}"
        if f"{here}/out/w" not in p:
            continue
        h = norm(p, f"{here}/norm", x, model.groups).flatten(2).transpose(1, 2)
        if kind == "attend":
            q, k, v = linear(p, f"{here}/qkv", h).chunk(3, -1)
        else:
            q = linear(p, f"{here}/q", h)
            k, v = linear(p, f"{here}/kv", tokens).chunk(2, -1)
        h = linear(p, f"{here}/out", attend(q, k, v, model.heads))
        x = x + h.transpose(1, 2).reshape(x.shape)
    return x


def unet(model, p, t, labels, x, image, tokens):
    torch, F = networks()
    e = condition(p, t, labels, model.channels, x.dtype)
    h = conv(p, "in", torch.cat([x, image], -1).permute(0, 3, 1, 2))
    levels, skips = len(model.widths), []
    for level in range(levels):
        for i in range(model.blocks):
            h = see(model, p, f"down{level}_{i}", h, e, tokens)
            skips.append(h)
        if level < levels - 1:
            h = conv(p, f"halve{level}", h, stride=2)
    h = block(model, p, "middle1", see(model, p, "middle0", h, e, tokens), e)
    for level in reversed(range(levels)):
        for i in reversed(range(model.blocks)):
            h = see(model, p, f"up{level}_{i}", torch.cat([h, skips.pop()], 1), e, tokens)
        if level:
            h = conv(p, f"double{level}", F.interpolate(h, scale_factor=2))
    return conv(p, "out", F.silu(norm(p, "norm", h, model.groups))).permute(0, 2, 3, 1)


def dit(model, p, t, labels, x):
    _, F = networks()
    e = condition(p, t, labels, model.hidden, x.dtype)
    n, height, width, c = x.shape
    k = model.patch
    cut = x.reshape(n, height // k, k, width // k, k, c).permute(0, 1, 3, 2, 4, 5)
    h = linear(p, "in", cut.reshape(n, -1, k * k * c)) + p["position"]

    def bare(h):
        return F.layer_norm(h, h.shape[-1:], eps=1e-6)

    for i in range(model.blocks):
        a1, b1, g1, a2, b2, g2 = linear(p, f"block{i}/steer", e)[:, None].chunk(6, -1)
        q, k_, v = linear(p, f"block{i}/qkv", (1 + a1) * bare(h) + b1).chunk(3, -1)
        h = h + g1 * linear(p, f"block{i}/merge", attend(q, k_, v, model.heads))
        inner = F.gelu(linear(p, f"block{i}/mlp/dense0", (1 + a2) * bare(h) + b2))
        h = h + g2 * linear(p, f"block{i}/mlp/dense1", inner)
    a, b = linear(p, "steer", e)[:, None].chunk(2, -1)
    out = linear(p, "out", (1 + a) * bare(h) + b)
    out = out.reshape(n, height // k, width // k, k, k, c).permute(0, 1, 3, 2, 4, 5)
    return out.reshape(x.shape)


def batch_norm(p, name, x):
    _, F = networks()
    gamma, beta = p[f"{name}/gamma"], p[f"{name}/beta"]
    return F.batch_norm(x, None, None, gamma, beta, training=True, eps=1e-5)


def generator(shape, p, z):
    torch, F = networks()
    levels = sum(name.startswith("up") and name.endswith("/w") for name in p)
    height, width = shape[0] // 2**levels, shape[1] // 2**levels
    h = linear(p, "dense", z).reshape(len(z), height, width, -1).permute(0, 3, 1, 2)
    h = F.relu(batch_norm(p, "norm0", h))
    for level in range(1, levels + 1):
        w = p[f"up{level}/w"].permute(3, 2, 0, 1).contiguous()
        h = F.conv_transpose2d(h, w, p[f"up{level}/b"], 2, 1)
        if f"norm{level}/gamma" in p:
            h = F.relu(batch_norm(p, f"norm{level}", h))
    return torch.tanh(h).permute(0, 2, 3, 1)


def discriminator(p, x):
    _, F = networks()
    h, level = x.permute(0, 3, 1, 2), 0
    while f"down{level}/w" in p:
        w = p[f"down{level}/w"].permute(3, 2, 0, 1).contiguous()
        h = F.conv2d(h, w, p[f"down{level}/b"], 2, 1)
        if level:
            h = batch_norm(p, f"norm{level}", h)
        h, level = F.leaky_relu(h, 0.2), level + 1
    return linear(p, "dense", h.permute(0, 2, 3, 1).flatten(1))
