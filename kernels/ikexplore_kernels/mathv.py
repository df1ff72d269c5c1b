"""Elementary functions of f32x16 vectors."""

import numpy as np

from ._cache import inner
from .simd import *

LOG2E, _MAGIC = np.float32(1.44269504), np.float32(12582912)  # 1.5 * 2**23 rounds when it is added
_LN2_HIGH, _LN2_LOW = np.float32(-0.693359375), np.float32(2.12194440e-4)
_P = tuple(np.float32(c) for c in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2,
                                   1.6666665459e-1, 5.0000001201e-1))
_P2 = tuple(np.float32(c) for c in (1.3264727180e-3, 9.6715126409e-3, 5.5507337433e-2, 2.4022242085e-1, 6.9314697760e-1))


@inner
def vexp(x):
    """e**x to about 2 ulp; below -87 it stays at 1.6e-38, above 88 at 1.7e38 (Cephes' expf polynomial)."""
    x = vmax(vmin(x, splat_f32x16(np.float32(88))), splat_f32x16(np.float32(-87)))
    shifted = fma(x, splat_f32x16(LOG2E), splat_f32x16(_MAGIC))
    n = shifted - _MAGIC
    r = fma(n, splat_f32x16(_LN2_HIGH), x)
    r = fma(n, splat_f32x16(_LN2_LOW), r)
    p = fma(splat_f32x16(_P[0]), r, splat_f32x16(_P[1]))
    p = fma(p, r, splat_f32x16(_P[2]))
    p = fma(p, r, splat_f32x16(_P[3]))
    p = fma(p, r, splat_f32x16(_P[4]))
    p = fma(p, r, splat_f32x16(_P[5]))
    e = fma(p, r * r, r + np.float32(1))
    return e * as_f32x16((to_i32x16(n) + 127) << 23)


@inner
def vexp2(x):
    """2**x for x <= 0, to 1.7e-7 of it and 1 for 0; it fades from -126 on and is 0 from -127.

    A polynomial of degree 5 with the least maximum error. At -127 the bits of 1 and of the exponent cancel; the remainder is
    not negative there, so that none wraps around.
    """
    x = vmax(x, splat_f32x16(np.float32(-127)))
    shifted = x + _MAGIC
    r = x - (shifted - _MAGIC)
    p = fma(splat_f32x16(_P2[0]), r, splat_f32x16(_P2[1]))
    p = fma(p, r, splat_f32x16(_P2[2]))
    p = fma(p, r, splat_f32x16(_P2[3]))
    p = fma(p, r, splat_f32x16(_P2[4]))
    p = fma(p, r, splat_f32x16(np.float32(1)))
    return as_f32x16(as_i32x16(p) + (as_i32x16(shifted) << 23))


@inner
def vsilu(x):
    """x / (1 + e**-x)"""
    return x / (vexp(splat_f32x16(np.float32(0)) - x) + np.float32(1))
