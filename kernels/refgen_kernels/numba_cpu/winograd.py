r"""Winograd's F(4 x 4, 3 x 3): a convolution by 36 products where (CV.1) takes 144.

Sources    winograd1980-complexity;  lavin2016-winograd  (the transforms, section 4)

Four outputs of a filter of three are the product of two polynomials, read at six points
instead of coefficient by coefficient. With the points 0, 1, −1, 2, −2 and ∞, for one axis:

    y = Aᵀ (G w ⊙ Bᵀ d),   d six inputs, w three weights, y four outputs              (WG.1)

          | 4  0 −5  0  1  0 |        |  1/4    0     0  |         | 1  1  1  1  1  0 |
          | 0 −4 −4  1  1  0 |        | −1/6  −1/6  −1/6 |    Aᵀ = | 0  1 −1  2 −2  0 |
    Bᵀ =  | 0  4 −4 −1  1  0 |   G =  | −1/6   1/6  −1/6 |         | 0  1  1  4  4  0 |
          | 0 −2 −1  2  1  0 |        | 1/24   1/12  1/6 |         | 0  1 −1  8 −8  1 |
          | 0  2 −1 −2  1  0 |        | 1/24  −1/12  1/6 |
          | 0  4  0 −5  0  1 |        |   0     0     1  |

On images it is done down and across, and the sum over channels moves inside: at each of the 36
points a matrix of tiles x inputs times one of inputs x outputs, so (TL.1) does the work.

    V = Bᵀ d B,   U = G w Gᵀ,   M[ξ] = V[ξ] U[ξ],   y = Aᵀ M A                        (WG.2)

Adjoints. dx is the same convolution of dy with the filter turned and its channels exchanged
(CV.4). For dw, the rule of the product at each point and the transposed transforms:

    dU[ξ] = V[ξ]ᵀ (A dy Aᵀ)[ξ],   dw = Gᵀ dU G                                        (WG.3)

The transforms add numbers that are five to eight times as large as the result, which costs a
digit: errors are about 5e-5 of the results' size. `direct` does without.

Images need not be multiples of four: a tile that hangs over the edge reads zeros there, and
what it would write beyond is dropped. Where `up` is 2, pixel (i, j) of the image is read from
(i/2, j/2) of x, so that an image to be enlarged never exists in its large form.
"""

# mypy: allow-untyped-calls
import numpy as np
from numba import prange
from numba.np.ufunc.parallel import get_thread_id

from refgen_kernels.numba_cpu.access import load, prefetch, prefetch_for_writing, store
from refgen_kernels.numba_cpu.build import inlined, kernel
from refgen_kernels.numba_cpu.matrices import panel_width
from refgen_kernels.numba_cpu.points import (
    data_tile,
    filter_gradient,
    filter_points,
    gradient_tile,
    output_tile,
    read6,
    write3,
    write6,
)
from refgen_kernels.numba_cpu.simd import floats
from refgen_kernels.numba_cpu.tile import WIDE, multiply, multiply_turned

POINTS, PAD = 36, 16  # PAD keeps the points of a tile out of one another's way
ZERO = np.float32(0)


# Tiles at the edge, and tiles of an image that exists only in its small form.


@inlined
def _gather(x, image, top, left, size, up, shape, patch, at):  # type: ignore[no-untyped-def]
    """Copy size x size pixels with all their channels; 0 outside the image."""
    height, width, channels = shape
    for i in range(top, top + size):
        row = image + (i // up) * (width // up) * channels
        for j in range(left, left + size):
            if 0 <= i < height and 0 <= j < width:
                pixel = row + j // up * channels
                for c in range(0, channels, 16):
                    store(patch, at + c, load(x, pixel + c))
            else:
                for c in range(0, channels, 16):
                    store(patch, at + c, floats(ZERO))
            at += channels


@inlined
def _scatter(patch, at, y, image, top, left, shape, up):  # type: ignore[no-untyped-def]
    """Copy back what lies inside of a 4 x 4 patch; of an enlarged image, sums of 2 x 2."""
    height, width, channels = shape
    if up == 1:
        for i in range(top, min(top + 4, height)):
            for j in range(left, min(left + 4, width)):
                pixel = load(patch, at + 16 * (4 * (i - top) + j - left))
                store(y, image + (i * width + j) * channels, pixel)
    else:
        for i in range(top, min(top + 4, height), 2):
            for j in range(left, min(left + 4, width), 2):
                p = at + 16 * (4 * (i - top) + j - left)
                pixel = load(patch, p) + load(patch, p + 16)
                pixel = pixel + (load(patch, p + 64) + load(patch, p + 80))
                store(y, image + (i // 2 * (width // 2) + j // 2) * channels, pixel)


@inlined
def _data_lines(x, shape, up, lines, v, step, patch):  # type: ignore[no-untyped-def]
    """Transform the tiles of some lines (a line is a row of tiles) to v : (36, tiles, C)."""
    height, width, channels = shape
    high, wide = (height + 3) // 4, (width + 3) // 4
    to = 0
    for line in range(lines[0], lines[1]):
        image = line // high * (height // up) * (width // up) * channels
        top = line % high * 4 - 1
        for tile in range(wide):
            left = 4 * tile - 1
            inside = top >= 0 and left >= 0 and top + 6 <= height and left + 6 <= width
            source, at, down = x, image + (top * width + left) * channels, width * channels
            if not inside or up > 1:
                _gather(x, image, top, left, 6, up, shape, v, patch)
                source, at, down = v, patch, 6 * channels
            for c in range(0, channels, 16):
                data_tile(source, at + c, down, channels, v, to + c, step)
            to += channels


@inlined
def _gradient_lines(dy, shape, lines, d, step, patch, db, sums):  # type: ignore[no-untyped-def]
    """Transform gradients of some lines to d : (36, tiles, C), add their pixels to db[sums:]."""
    height, width, channels = shape
    high, wide = (height + 3) // 4, (width + 3) // 4
    to = 0
    for line in range(lines[0], lines[1]):
        image, top = line // high * height * width * channels, line % high * 4
        for tile in range(wide):
            left = 4 * tile
            source, at, down = dy, image + (top * width + left) * channels, width * channels
            if top + 4 > height or left + 4 > width:
                _gather(dy, image, top, left, 4, 1, shape, d, patch)
                source, at, down = d, patch, 4 * channels
            for c in range(0, channels, 16):
                total = gradient_tile(source, at + c, down, channels, d, to + c, step)
                store(db, sums + c, load(db, sums + c) + total)
            to += channels


@inlined
def _output_lines(m, at, step, y, shape, lines, start, stop, bias, pooled, patch):  # type: ignore[no-untyped-def]
    """Write channels start .. stop of some lines of tiles, from m : (36, tiles, stop − start)."""
    height, width, channels = shape
    high, wide = (height + 3) // 4, (width + 3) // 4
    for line in range(lines[0], lines[1]):
        image = line // high * (height // pooled) * (width // pooled) * channels
        top = line % high * 4
        for tile in range(wide):
            left = 4 * tile
            inside = top + 4 <= height and left + 4 <= width and pooled == 1
            target, to, right = m, patch, 16
            for c in range(start, stop, 16):
                if inside:
                    target, right = y, channels
                    to = image + (top * width + left) * channels + c
                down = right * (width if inside else 4)
                output_tile(m, at, step, target, to, down, right, load(bias, c))
                if not inside:
                    _scatter(m, patch, y, image + c, top, left, shape, pooled)
                at += 16


# Memory is slow and products are not: fetch what comes next while they are computed.


@inlined
def _first_pixel(line, shape, smaller):  # type: ignore[no-untyped-def]
    """Return where the pixels of a line of tiles begin, in an image `smaller` times as small."""
    height, width, channels = shape
    high = (height + 3) // 4
    rows = line // high * (height // smaller) + line % high * 4 // smaller
    return rows * (width // smaller) * channels


@inlined
def _fetch(x, start, stop, part, write):  # type: ignore[no-untyped-def]
    """Fetch one of POINTS parts of x[start:stop] into the second cache."""
    size = stop - start
    for i in range(start + size * part // POINTS, start + size * (part + 1) // POINTS, 16):
        if write:
            prefetch_for_writing(x, i)
        else:
            prefetch(x, i)


# The kernels.


@kernel
def transform_filter(w, u, inputs, outputs, turned):  # type: ignore[no-untyped-def]
    """Set u to U (WG.2), panel by panel: (36, outputs / panel, inputs, panel).

    w : (9, inputs, outputs), flat; turned by half a turn where that is asked for.
    """
    taps = inputs * outputs
    for i in prange(inputs):
        for start in range(0, outputs, 16):
            first = start - start % WIDE
            panel = panel_width(first, outputs)
            if panel < WIDE:
                first = start
            at = i * outputs + start
            to = first * inputs + i * panel + start - first
            step = taps
            if turned:
                at, step = at + 8 * taps, -taps
            c0 = filter_points(load(w, at), load(w, at + 3 * step), load(w, at + 6 * step))
            at += step
            c1 = filter_points(load(w, at), load(w, at + 3 * step), load(w, at + 6 * step))
            at += step
            c2 = filter_points(load(w, at), load(w, at + 3 * step), load(w, at + 6 * step))
            write6(u, to, taps, filter_points(c0[0], c1[0], c2[0]))
            write6(u, to + 6 * taps, taps, filter_points(c0[1], c1[1], c2[1]))
            write6(u, to + 12 * taps, taps, filter_points(c0[2], c1[2], c2[2]))
            write6(u, to + 18 * taps, taps, filter_points(c0[3], c1[3], c2[3]))
            write6(u, to + 24 * taps, taps, filter_points(c0[4], c1[4], c2[4]))
            write6(u, to + 30 * taps, taps, filter_points(c0[5], c1[5], c2[5]))


@kernel
def correlate(x, u, bias, y, scratch, sizes, up, pooled, at_once):  # type: ignore[no-untyped-def]
    """Set y to the convolution of x, at_once lines of tiles at a time; see (WG.2).

    sizes = (N, H, W, inputs, outputs) with H and W of the large image, where up or pooled is 2.
    """
    n, height, width, inputs, outputs = sizes
    high, wide = (height + 3) // 4, (width + 3) // 4
    total = n * high
    for task in prange((total + at_once - 1) // at_once):
        memory = scratch[get_thread_id()]
        lines = (task * at_once, min(total, (task + 1) * at_once))
        tiles = (lines[1] - lines[0]) * wide
        v_step = tiles * inputs + PAD
        patch = POINTS * v_step
        m = patch + POINTS * max(inputs, 16)
        _data_lines(x, (height, width, inputs), up, lines, memory, v_step, patch)
        start = 0
        before, after = (height, width, inputs), (height, width, outputs)
        last = min(total, lines[1] + at_once)
        read = _first_pixel(lines[1], before, up), _first_pixel(last, before, up)
        written = _first_pixel(lines[0], after, pooled), _first_pixel(lines[1], after, pooled)
        while start < outputs:
            panel = panel_width(start, outputs)
            m_step = tiles * panel + PAD
            for point in range(POINTS):
                if start == 0:
                    _fetch(x, read[0], read[1], point, False)
                    _fetch(y, written[0], written[1], point, True)
                b = (point * outputs + start) * inputs
                a, c = point * v_step, m + point * m_step
                multiply(
                    memory,
                    a,
                    u,
                    b,
                    memory,
                    c,
                    inputs,
                    0,
                    inputs,
                    1,
                    panel,
                    0,
                    panel,
                    0,
                    tiles,
                    panel,
                )
            shape = (height, width, outputs)
            _output_lines(
                memory, m, m_step, y, shape, lines, start, start + panel, bias, pooled, patch
            )
            start += panel


@kernel
def collect(x, dy, du, db, scratch, sizes, up, at_once):  # type: ignore[no-untyped-def]
    """Set du : (groups, 36, inputs, outputs) to the shares of dU, db to those of Σ dy; (WG.3).

    Each group is a fixed part of the lines of tiles, whoever works on it.
    """
    n, height, width, inputs, outputs = sizes
    high, wide = (height + 3) // 4, (width + 3) // 4
    groups, total = db.shape[0], n * high
    before, after = (height, width, inputs), (height, width, outputs)
    for group in prange(groups):
        memory, sums, share = scratch[get_thread_id()], db[group], du[group]
        sums[:] = ZERO
        first, stop = total * group // groups, total * (group + 1) // groups
        for line in range(first, stop, at_once):
            lines = (line, min(stop, line + at_once))
            tiles = (lines[1] - lines[0]) * wide
            v_step, d_step = tiles * inputs + PAD, tiles * outputs + PAD
            d = POINTS * v_step
            patch = d + POINTS * d_step
            _data_lines(x, before, up, lines, memory, v_step, patch)
            _gradient_lines(dy, after, lines, memory[d:], d_step, patch - d, sums, 0)
            last = min(stop, lines[1] + at_once)
            of_x = _first_pixel(lines[1], before, up), _first_pixel(last, before, up)
            of_dy = _first_pixel(lines[1], after, 1), _first_pixel(last, after, 1)
            for point in range(POINTS):
                _fetch(x, of_x[0], of_x[1], point, False)
                _fetch(dy, of_dy[0], of_dy[1], point, False)
                a, b, c = point * v_step, d + point * d_step, point * inputs * outputs
                multiply_turned(
                    memory, a, memory, b, share, c, inputs, 0, tiles, 1, outputs, 0, outputs,
                    1 if line > first else 0, inputs, outputs,
                )  # fmt: skip
        if first >= stop:
            share[:] = ZERO


@kernel
def transform_gradient(du, dw, inputs, outputs):  # type: ignore[no-untyped-def]
    """Set dw to Gᵀ dU G, the groups' shares added in order."""
    taps = inputs * outputs
    for i in prange(inputs):
        for o in range(0, outputs, 16):
            at = i * outputs + o
            c0 = filter_gradient(*_column(du, at, taps))
            c1 = filter_gradient(*_column(du, at + taps, taps))
            c2 = filter_gradient(*_column(du, at + 2 * taps, taps))
            c3 = filter_gradient(*_column(du, at + 3 * taps, taps))
            c4 = filter_gradient(*_column(du, at + 4 * taps, taps))
            c5 = filter_gradient(*_column(du, at + 5 * taps, taps))
            write3(dw, at, taps, filter_gradient(c0[0], c1[0], c2[0], c3[0], c4[0], c5[0]))
            at += 3 * taps
            write3(dw, at, taps, filter_gradient(c0[1], c1[1], c2[1], c3[1], c4[1], c5[1]))
            at += 3 * taps
            write3(dw, at, taps, filter_gradient(c0[2], c1[2], c2[2], c3[2], c4[2], c5[2]))


@inlined
def _column(du, at, taps):  # type: ignore[no-untyped-def]
    """Return every sixth point from one on, summed over the groups."""
    d0, d1, d2, d3, d4, d5 = read6(du[0], at, 6 * taps)
    for group in range(1, du.shape[0]):
        e0, e1, e2, e3, e4, e5 = read6(du[group], at, 6 * taps)
        d0, d1, d2, d3, d4, d5 = d0 + e0, d1 + e1, d2 + e2, d3 + e3, d4 + e4, d5 + e5
    return d0, d1, d2, d3, d4, d5
