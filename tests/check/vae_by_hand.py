"""A variational autoencoder derived by hand, with the slips that people make.

tanh encoder and decoder, ELBO per example (½ |x − x̂|² and beta KL), mean over the batch. The
sizes are distinct primes, so that a wrong factor has one name. `grads(params, slip)` makes one
slip on the way, where a person would make it; `SPOILED` spoils the finished gradient.
"""

import numpy as np

BATCH, DATA, HIDDEN, LATENT, BETA = 11, 7, 3, 5, 0.7
SIZES = {"batch": BATCH, "data": DATA, "hidden": HIDDEN, "latent": LATENT, "beta": BETA}
SHAPES = {
    "enc": {"w": (DATA, HIDDEN), "b": (HIDDEN,)},
    "mu": {"w": (HIDDEN, LATENT), "b": (LATENT,)},
    "logvar": {"w": (HIDDEN, LATENT), "b": (LATENT,)},
    "dec": {"w": (LATENT, HIDDEN), "b": (HIDDEN,)},
    "out": {"w": (HIDDEN, DATA), "b": (DATA,)},
}
_rng = np.random.default_rng(5)
X = _rng.normal(size=(BATCH, DATA))
NOISE = _rng.normal(size=(BATCH, LATENT))


def init(seed=0, scale=0.5):
    rng = np.random.default_rng(seed)
    return {
        layer: {k: scale * rng.normal(size=s) for k, s in shapes.items()}
        for layer, shapes in SHAPES.items()
    }


def forward(p):
    h = np.tanh(X @ p["enc"]["w"] + p["enc"]["b"])
    mu = h @ p["mu"]["w"] + p["mu"]["b"]
    logvar = h @ p["logvar"]["w"] + p["logvar"]["b"]
    z = mu + np.exp(0.5 * logvar) * NOISE
    g = np.tanh(z @ p["dec"]["w"] + p["dec"]["b"])
    return h, mu, logvar, z, g, g @ p["out"]["w"] + p["out"]["b"]


def loss(p):
    _, mu, logvar, _, _, xhat = forward(p)
    recon = 0.5 * np.sum((xhat - X) * (xhat - X)) / BATCH
    kl = BETA * 0.5 * np.sum(mu * mu + np.exp(logvar) - 1 - logvar) / BATCH
    return {"recon": recon, "kl": kl}


def loss_in_parts(p):
    """Return the same loss with the KL's terms apart: the doctor can then say which is wrong."""
    _, mu, logvar, *_ = forward(p)
    k = BETA * 0.5 / BATCH
    return {
        "recon": loss(p)["recon"],
        "kl: mu^2": k * np.sum(mu * mu),
        "kl: var": k * np.sum(np.exp(logvar)),
        "kl: -logvar": -k * np.sum(1 + logvar),
    }


def grads(p, slip=""):
    h, mu, logvar, z, g, xhat = forward(p)
    std = np.exp(0.5 * logvar)
    n = {"no mean over batch": 1, "mean twice": BATCH**2}.get(slip, BATCH)
    dxhat = (X - xhat if slip == "residual reversed" else xhat - X) / n
    dxhat = dxhat * {"square's 2 kept": 2, "half twice": 0.5, "recon summed": BATCH}.get(slip, 1)
    dout = {"w": g.T @ dxhat, "b": dxhat.sum(axis=0)}
    if slip == "pre-activation cached":
        dout["w"] = (z @ p["dec"]["w"] + p["dec"]["b"]).T @ dxhat
    dg = dxhat @ p["out"]["w"].T
    da = dg if slip == "decoder tanh' missing" else dg * (1 - g * g)
    if slip == "tanh' is 1 - g":
        da = dg * (1 - g)
    ddec = {"w": (mu if slip == "mu cached for z" else z).T @ da, "b": da.sum(axis=0)}
    dz = da @ p["dec"]["w"].T
    if slip == "stop at z":
        dz = np.zeros_like(dz)

    beta = {"beta forgotten": 1.0, "beta twice": BETA**2, "kl missing": 0.0}.get(slip, BETA)
    beta = beta * {"kl doubled": 2, "kl half": 0.5, "kl sign": -1, "kl mean": 1 / LATENT}.get(
        slip, 1
    )
    kl_n = {"kl summed": 1}.get(slip, n)
    dmu = dz + (0 if slip == "mu^2 term dropped" else beta * mu / kl_n)
    var_term = 0 if slip == "variance term dropped" else std * std
    one = 0 if slip == "-1 term dropped" else 1
    dlogvar = dz * 0.5 * std * NOISE + beta * 0.5 * (var_term - one) / kl_n
    if slip == "logvar as log sigma":
        dlogvar = dz * std * NOISE + beta * (std * std - 1) / kl_n
    if slip == "draw's half missing":
        dlogvar = dz * std * NOISE + beta * 0.5 * (std * std - 1) / kl_n
    if slip == "noise forgotten":
        dlogvar = dz * 0.5 * std + beta * 0.5 * (std * std - 1) / kl_n
    if slip == "draw's path dropped":
        dlogvar = beta * 0.5 * (std * std - 1) / kl_n
    dh = dmu @ p["mu"]["w"].T + dlogvar @ p["logvar"]["w"].T
    if slip == "only the mean's path":
        dh = dmu @ p["mu"]["w"].T
    de = dh if slip == "encoder tanh' missing" else dh * (1 - h * h)
    x = np.tanh(X) if slip == "wrong input cached" else X
    return {
        "enc": {"w": x.T @ de, "b": de.sum(axis=0)},
        "mu": {"w": h.T @ dmu, "b": dmu.sum(axis=0)},
        "logvar": {"w": h.T @ dlogvar, "b": dlogvar.sum(axis=0)},
        "dec": ddec,
        "out": dout,
    }


def _row_scaled(g):
    g[1] *= 4


def _last_column(g):
    g[:, -1] = 0


def _one_entry(g):
    g[2, 1] += 1e-3


def _nan(g):
    g[0, 1] = np.nan


SPOILED = {  # name -> (array, what happens to its gradient; the parameter comes second)
    "sign of one array": ("mu/w", lambda g, p: -g),
    "bias averaged over batch": ("out/b", lambda g, p: g / BATCH),
    "bias not summed": ("out/b", lambda g, p: np.tile(g / BATCH, (BATCH, 1))),
    "bias keeps an axis": ("dec/b", lambda g, p: g[None]),
    "transposed": ("out/w", lambda g, p: g.T),
    "reshaped, not transposed": ("dec/w", lambda g, p: g.T.reshape(g.shape)),
    "zero": ("dec/b", lambda g, p: 0 * g),
    "NaN": ("logvar/w", lambda g, p: _do(_nan, g)),
    "off by 1e-4": ("out/w", lambda g, p: g * 1.0001),
    "off by 1e-6": ("enc/w", lambda g, p: g * (1 + 1e-6)),
    "L2 term": ("out/w", lambda g, p: g + 0.01 * p),
    "beta as L2": ("enc/w", lambda g, p: g + BETA * p),
    "constant added": ("out/b", lambda g, p: g + 0.25),
    "reversed": ("out/b", lambda g, p: g[::-1]),
    "shifted": ("out/b", lambda g, p: np.roll(g, 1)),
    "last column zero": ("out/w", lambda g, p: _do(_last_column, g)),
    "row scaled": ("enc/w", lambda g, p: _do(_row_scaled, g)),
    "one entry": ("enc/w", lambda g, p: _do(_one_entry, g)),
    "columns each scaled": ("out/w", lambda g, p: g * np.linspace(0.5, 2, g.shape[1])),
    "batch / latent": ("mu/w", lambda g, p: g * BATCH / LATENT),
    "half batch": ("mu/b", lambda g, p: g / (2 * BATCH)),
    "noise on top": ("enc/w", lambda g, p: g + 1e-5 * np.cos(np.arange(g.size)).reshape(g.shape)),
    "float16 inside": ("enc/w", lambda g, p: g.astype(np.float16).astype(float)),
}


def _do(change, g):
    g = g.copy()
    change(g)
    return g


def spoiled_grads(p, name):
    array, change = SPOILED[name]
    layer, key = array.split("/")
    out = grads(p)
    out[layer][key] = change(out[layer][key], p[layer][key])
    return out
