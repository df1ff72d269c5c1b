"""The grids of the i-quants: tables of 256 to 2048 points of 8 or 4 weights, one index for each such group of columns.

The values are facts that ggml's files depend on; they come from PyPI's gguf. As bytes, little-endian, for kernels:

* ``IQ2_XXS`` ...: uint8 [points, 8 or 4], the values themselves (of iq1: 8 value + 9, which is 1, 9 or 17);
* ``IQ2_XXS_FIT`` ...: float32 [points, 8 or 4], for encoders. The iq1 grid has every point twice, 8 value + 1 and then
  8 value - 1, for the two signs of delta = 1/8; units are 1/8.
* ``IQ2_XXS_PARTS`` ...: int32 [points, 2] and float32 [parts, 8], for encoders of points of 8: which of the parts the
  first four and the last four values are (the latter counted on from the former); values of the parts, their squares.
  Of points of 4 they are the points themselves, float32 [points, 8]: values, squares.
"""

import numpy as np
from gguf import quants


def _points(kind):
    kind.init_grid()
    return np.ascontiguousarray(kind.grid.reshape(kind.grid_shape), np.float32)


def _with_squares(points):
    return np.ascontiguousarray(np.concatenate([points, points * points], axis=1), np.float32).view(np.uint8).reshape(-1)


def _fit(points):
    values = np.ascontiguousarray(points, np.float32).view(np.uint8).reshape(-1)
    if points.shape[1] == 4:
        return values, _with_squares(points)
    parts, which = np.unique(points.reshape(-1, 4), axis=0, return_inverse=True)
    pairs = (which.reshape(-1, 2) + np.array([0, len(parts)])).astype(np.int32)
    return values, np.concatenate([pairs.view(np.uint8).reshape(-1), _with_squares(parts)])


def _bytes(points):
    return np.ascontiguousarray(points.astype(np.uint8)).reshape(-1)


_iq2_xxs, _iq2_xs, _iq2_s, _iq3_xxs, _iq3_s, _iq1 = (
    _points(kind) for kind in (quants.IQ2_XXS, quants.IQ2_XS, quants.IQ2_S, quants.IQ3_XXS, quants.IQ3_S, quants.IQ1_S)
)
IQ2_XXS, (IQ2_XXS_FIT, IQ2_XXS_PARTS) = _bytes(_iq2_xxs), _fit(_iq2_xxs)
IQ2_XS, (IQ2_XS_FIT, IQ2_XS_PARTS) = _bytes(_iq2_xs), _fit(_iq2_xs)
IQ2_S, (IQ2_S_FIT, IQ2_S_PARTS) = _bytes(_iq2_s), _fit(_iq2_s)
IQ3_XXS, (IQ3_XXS_FIT, IQ3_XXS_PARTS) = _bytes(_iq3_xxs), _fit(_iq3_xxs)
IQ3_S, (IQ3_S_FIT, IQ3_S_PARTS) = _bytes(_iq3_s), _fit(_iq3_s)
IQ1, (IQ1_FIT, IQ1_PARTS) = _bytes(_iq1 * 8 + 9), _fit(np.concatenate([_iq1 * 8 + 1, _iq1 * 8 - 1]))
