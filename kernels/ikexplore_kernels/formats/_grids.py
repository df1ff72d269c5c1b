"""The grids of the i-quants: tables of 256 to 2048 points of 8 or 4 weights, one index for each such group of columns.

The values are facts that ggml's files depend on; they come from PyPI's gguf. As bytes, little-endian, for kernels:

* ``IQ2_XXS`` ...: uint8 [points, 8 or 4], the values themselves (of iq1: 8 value + 9, which is 1, 9 or 17);
* ``IQ2_XXS_FIT`` ...: float32 [points, 16 or 8], for encoders: the values, then their squares. The iq1 grid has every
  point twice, 8 value + 1 and then 8 value - 1, for the two signs of delta = 1/8; units are 1/8.

``SIGNS``: uint8 [128], 7 bits of signs with their parity as the eighth.
"""

import numpy as np
from gguf import quants


def _points(kind):
    kind.init_grid()
    return np.ascontiguousarray(kind.grid.reshape(kind.grid_shape), np.float32)


def _fit(points):
    table = np.ascontiguousarray(np.concatenate([points, points * points], axis=1), np.float32)
    return table.view(np.uint8).reshape(-1)


def _bytes(points):
    return np.ascontiguousarray(points.astype(np.uint8)).reshape(-1)


_iq2_xxs, _iq2_xs, _iq2_s, _iq3_xxs, _iq3_s, _iq1 = (
    _points(kind) for kind in (quants.IQ2_XXS, quants.IQ2_XS, quants.IQ2_S, quants.IQ3_XXS, quants.IQ3_S, quants.IQ1_S)
)
IQ2_XXS, IQ2_XXS_FIT = _bytes(_iq2_xxs), _fit(_iq2_xxs)
IQ2_XS, IQ2_XS_FIT = _bytes(_iq2_xs), _fit(_iq2_xs)
IQ2_S, IQ2_S_FIT = _bytes(_iq2_s), _fit(_iq2_s)
IQ3_XXS, IQ3_XXS_FIT = _bytes(_iq3_xxs), _fit(_iq3_xxs)
IQ3_S, IQ3_S_FIT = _bytes(_iq3_s), _fit(_iq3_s)
IQ1, IQ1_FIT = _bytes(_iq1 * 8 + 9), _fit(np.concatenate([_iq1 * 8 + 1, _iq1 * 8 - 1]))
SIGNS = np.array([s | s.bit_count() % 2 << 7 for s in range(128)], np.uint8)
