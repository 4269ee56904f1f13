"""What it means to be a backend: these names, these signatures. A module qualifies.

Here stand the hot ops, the ones worth a kernel; a backend that lacks one is laid over the
reference, which has them all (refgen_kernels.overlay).
"""

from typing import Any, Protocol

from refgen.noise import Stream
from refgen.ops.conv import Pair
from refgen.typing import Array


class Ops(Protocol):
    """A table of ops: refgen.ops is one, an overlay of kernels is another."""

    def put(self, a: Array) -> Array:
        """Return an array of ordinary memory where this table computes."""

    def fetch(self, a: Array) -> Array:
        """Return an array of this table's place in ordinary memory."""

    def normals(self, stream: Stream, start: int, count: int) -> Array:
        """Return standard normals start .. start + count of a stream, float32."""

    def words(self, stream: Stream, start: int, count: int) -> Array:
        """Return words start .. start + count of a stream, uint32."""

    def dense_forward(self, x: Array, w: Array, b: Array) -> tuple[Array, Any]:
        """Return (y, cache)."""

    def dense_backward(self, dy: Array, cache: Any) -> tuple[Array, Array, Array]:
        """Return (dx, dw, db)."""

    def conv2d_forward(
        self, x: Array, w: Array, b: Array, *, stride: Pair = 1, padding: Pair = 0, groups: int = 1
    ) -> tuple[Array, Any]:
        """Return (y, cache)."""

    def conv2d_backward(self, dy: Array, cache: Any) -> tuple[Array, Array, Array]:
        """Return (dx, dw, db)."""

    def conv_transpose2d_forward(
        self,
        x: Array,
        w: Array,
        b: Array,
        *,
        stride: Pair = 1,
        padding: Pair = 0,
        output_padding: Pair = 0,
        groups: int = 1,
    ) -> tuple[Array, Any]:
        """Return (y, cache)."""

    def conv_transpose2d_backward(self, dy: Array, cache: Any) -> tuple[Array, Array, Array]:
        """Return (dx, dw, db)."""

    def upsample_conv2d_forward(
        self, x: Array, w: Array, b: Array, *, padding: Pair = 0
    ) -> tuple[Array, Any]:
        """Return (y, cache)."""

    def upsample_conv2d_backward(self, dy: Array, cache: Any) -> tuple[Array, Array, Array]:
        """Return (dx, dw, db)."""

    def add(self, x: Array, z: Array) -> Array:
        """Return y."""

    def shift_forward(self, x: Array, v: Array) -> tuple[Array, Any]:
        """Return (y, cache)."""

    def shift_backward(self, dy: Array, cache: Any) -> tuple[Array, Array]:
        """Return (dx, dv)."""

    def concat_forward(self, x: Array, z: Array) -> tuple[Array, Any]:
        """Return (y, cache)."""

    def concat_backward(self, dy: Array, cache: Any) -> tuple[Array, Array]:
        """Return (dx, dz)."""

    def group_norm_forward(
        self, x: Array, gamma: Array, beta: Array, *, groups: int, eps: float = 1e-5
    ) -> tuple[Array, Any]:
        """Return (y, cache)."""

    def group_norm_backward(self, dy: Array, cache: Any) -> tuple[Array, Array, Array]:
        """Return (dx, dgamma, dbeta)."""

    def group_norm_silu_forward(
        self, x: Array, gamma: Array, beta: Array, *, groups: int, eps: float = 1e-5
    ) -> tuple[Array, Any]:
        """Return (y, cache)."""

    def group_norm_silu_backward(self, dy: Array, cache: Any) -> tuple[Array, Array, Array]:
        """Return (dx, dgamma, dbeta)."""

    def group_norm_film_silu_forward(
        self,
        x: Array,
        gamma: Array,
        beta: Array,
        scale: Array,
        shift: Array,
        *,
        groups: int,
        eps: float = 1e-5,
    ) -> tuple[Array, Any]:
        """Return (y, cache)."""

    def group_norm_film_silu_backward(
        self, dy: Array, cache: Any
    ) -> tuple[Array, Array, Array, Array, Array]:
        """Return (dx, dgamma, dbeta, dscale, dshift)."""

    def layer_norm_forward(
        self, x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5
    ) -> tuple[Array, Any]:
        """Return (y, cache)."""

    def layer_norm_backward(self, dy: Array, cache: Any) -> tuple[Array, Array, Array]:
        """Return (dx, dgamma, dbeta)."""

    def batch_norm_forward(
        self, x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5
    ) -> tuple[Array, Array, Array, Any]:
        """Return (y, mean, var, cache)."""

    def batch_norm_backward(
        self, dy: Array, dmean: Array, dvar: Array, cache: Any
    ) -> tuple[Array, Array, Array]:
        """Return (dx, dgamma, dbeta)."""

    def attention_forward(
        self, q: Array, k: Array, v: Array, mask: Array | None = None, *, heads: int
    ) -> tuple[Array, Any]:
        """Return (y, cache)."""

    def attention_backward(self, dy: Array, cache: Any) -> tuple[Array, Array, Array]:
        """Return (dq, dk, dv)."""

    def noising_forward(self, data: Array, noise: Array, a: Array, b: Array) -> tuple[Array, Any]:
        """Return (x, cache)."""

    def noising_drawn(
        self, data: Array, a: Array, b: Array, stream: Stream, start: int = 0
    ) -> tuple[Array, Array]:
        """Return (x, noise)."""

    def reparameterize_kl_forward(
        self, mu: Array, logvar: Array, noise: Array
    ) -> tuple[Array, Array, Any]:
        """Return (z, kl, cache)."""

    def reparameterize_kl_backward(self, dz: Array, dkl: Array, cache: Any) -> tuple[Array, Array]:
        """Return (dmu, dlogvar)."""

    def reparameterize_kl_drawn(
        self, mu: Array, logvar: Array, stream: Stream, start: int = 0
    ) -> tuple[Array, Array, Any]:
        """Return (z, kl, cache)."""

    def bernoulli_nll_forward(self, x: Array, logits: Array) -> tuple[Array, Any]:
        """Return (nll, cache)."""

    def bernoulli_nll_backward(self, dnll: Array, cache: Any) -> tuple[Array, Array]:
        """Return (dx, dlogits)."""

    def squared_error_forward(self, x: Array, target: Array) -> tuple[Array, Any]:
        """Return (loss, cache)."""

    def squared_error_backward(self, dloss: Array, cache: Any) -> tuple[Array, Array]:
        """Return (dx, dtarget)."""

    def affine_coupling_forward(
        self, x: Array, shift: Array, log_scale: Array
    ) -> tuple[Array, Array, Any]:
        """Return (y, logdet, cache)."""

    def affine_coupling_inverse(self, y: Array, shift: Array, log_scale: Array) -> Array:
        """Return x."""

    def affine_coupling_backward(
        self, dy: Array, dlogdet: Array, cache: Any
    ) -> tuple[Array, Array, Array]:
        """Return (dx, dshift, dlog_scale)."""

    def ddpm_step_forward(
        self,
        x: Array,
        noise_hat: Array,
        noise: Array,
        *,
        alpha: float,
        alpha_bar: float,
        sigma: float,
    ) -> tuple[Array, Any]:
        """Return (x_next, cache)."""

    def ddpm_step_drawn(
        self,
        x: Array,
        noise_hat: Array,
        stream: Stream,
        start: int = 0,
        *,
        alpha: float,
        alpha_bar: float,
        sigma: float,
    ) -> Array:
        """Return x_next."""

    def ddim_step_forward(
        self,
        x: Array,
        noise_hat: Array,
        noise: Array,
        *,
        alpha_bar: float,
        alpha_bar_next: float,
        sigma: float,
    ) -> tuple[Array, Any]:
        """Return (x_next, cache)."""

    def ddim_step_drawn(
        self,
        x: Array,
        noise_hat: Array,
        stream: Stream,
        start: int = 0,
        *,
        alpha_bar: float,
        alpha_bar_next: float,
        sigma: float,
    ) -> Array:
        """Return x_next."""

    def guided_ddpm_step_forward(
        self,
        x: Array,
        noise_hat: Array,
        noise_hat_null: Array,
        noise: Array,
        *,
        guidance: float,
        alpha: float,
        alpha_bar: float,
        sigma: float,
    ) -> tuple[Array, Any]:
        """Return (x_next, cache)."""

    def guided_ddpm_step_drawn(
        self,
        x: Array,
        noise_hat: Array,
        noise_hat_null: Array,
        stream: Stream,
        start: int = 0,
        *,
        guidance: float,
        alpha: float,
        alpha_bar: float,
        sigma: float,
    ) -> Array:
        """Return x_next."""

    def guided_ddim_step_forward(
        self,
        x: Array,
        noise_hat: Array,
        noise_hat_null: Array,
        noise: Array,
        *,
        guidance: float,
        alpha_bar: float,
        alpha_bar_next: float,
        sigma: float,
    ) -> tuple[Array, Any]:
        """Return (x_next, cache)."""

    def guided_ddim_step_drawn(
        self,
        x: Array,
        noise_hat: Array,
        noise_hat_null: Array,
        stream: Stream,
        start: int = 0,
        *,
        guidance: float,
        alpha_bar: float,
        alpha_bar_next: float,
        sigma: float,
    ) -> Array:
        """Return x_next."""

    def euler_step_forward(self, x: Array, velocity: Array, *, dt: float) -> tuple[Array, Any]:
        """Return (x_next, cache)."""

    def heun_step_forward(
        self, x: Array, velocity: Array, velocity_next: Array, *, dt: float
    ) -> tuple[Array, Any]:
        """Return (x_next, cache)."""

    def langevin_step_forward(
        self, x: Array, score: Array, noise: Array, *, step: float
    ) -> tuple[Array, Any]:
        """Return (x_next, cache)."""

    def langevin_step_drawn(
        self, x: Array, score: Array, stream: Stream, start: int = 0, *, step: float
    ) -> Array:
        """Return x_next."""

    def adam_ema_step(
        self,
        p: Array,
        g: Array,
        m: Array,
        v: Array,
        average: Array,
        *,
        step: int,
        lr: float,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        decay: float,
    ) -> tuple[Array, Array, Array, Array]:
        """Return (p, m, v, average)."""
