"""8-bit codes with a half per 256, many rows interleaved: what q8_k_r8 and q8_k_r16 have in common.

Group of ``rows`` rows x 256 columns: half d[rows]; q[64][rows][4]: quad j (columns 4 j..4 j + 3) of all rows; ``flip``
(0 or 128) is what the bytes of the signed codes are combined with (exclusive or).
"""

import numpy as np

from .. import jit
from ..simd import *
from ._half import half_bits, half_value
from ._lanes import TINY, clip, nearest
from .gather import copy, join4x4, poke16


@jit
def decode_rows(src, dst, n_rows, n_cols, rows, flip):
    for r in range(n_rows):
        k = r % rows
        group = (r - k) * (n_cols // 256 * 258)
        for b in range(n_cols // 256):
            g, to = group + b * 258 * rows, (r * n_cols + b * 256) * 4
            d = load_f16(src, g + k * 2)
            for j in range(0, 64, 4):
                q = join4x4(src, g + rows * 2 + j * rows * 4 + k * 4, rows * 4) ^ flip
                store_f32x16(dst, to + j * 16, to_f32x16(to_i32x16(as_i8x16(q))) * d)


@jit
def encode_rows(x, dst, n_rows, n_cols, rows, flip, work):
    """The largest magnitude becomes 127; codes are chosen for the half that is stored."""
    for r in range(n_rows):
        k = r % rows
        group = (r - k) * (n_cols // 256 * 258)
        for b in range(n_cols // 256):
            g, at, top = group + b * 258 * rows, x + (r * n_cols + b * 256) * 4, splat_f32x16(0)
            for i in range(0, 1024, 64):
                top = vmax(top, vabs(load_f32x16(at, i)))
            bits = half_bits(vtop(top) / np.float32(127))
            poke16(dst, g + k * 2, bits)
            d = half_value(bits)
            inv = np.float32(1) / d if d > TINY else np.float32(0)
            for j in range(0, 64, 4):
                q = nearest(clip(load_f32x16(at, j * 16) * inv, -127, 127))
                store_u8x16(work, 0, to_u8x16(to_i32x16(q)) ^ flip)
                for i in range(4):
                    copy(dst, g + rows * 2 + (j + i) * rows * 4 + k * 4, work, i * 4, 4)
