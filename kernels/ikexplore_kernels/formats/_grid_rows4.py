"""What the interleaved grid types share: signs as the difference of neighbours, and pieces of four groups of rows.

Signs with an even number of minus are stored as seven bits t_0..t_6: sign j is t_(j-1) ^ t_j, with zeros beyond.
"""

from .. import jit
from ..simd import *
from ._grid_look import eighth_signs
from .gather import join4x4, join4x8, join4x16


@jit(forceinline=True)
def differences(words):
    """Words of four bytes of plain signs (see `eighth_signs`) -> the same with t in the upper seven bits of each."""
    t = words ^ words >> 1 & 0x7F7F7F7F
    t = t ^ t >> 2 & 0x3F3F3F3F
    return t ^ t >> 4 & 0x0F0F0F0F


@jit(forceinline=True)
def from_differences(words):
    """The inverse; lowest bits of the bytes must be 0."""
    return words ^ words >> 1


@jit(forceinline=True)
def mix(word):
    """A uint32 of four times 7 signs and a scale: t in the upper seven bits of each byte, a bit of the scale below."""
    t, s = differences(eighth_signs(word)), word >> 28
    return t | s & 1 | (s & 2) << 7 | (s & 4) << 14 | (s & 8) << 21


@jit(forceinline=True)
def scale_of(mixed):
    """The scale in the lowest bits of the four bytes (an int or u32x16)."""
    return mixed & 1 | mixed >> 7 & 2 | mixed >> 14 & 4 | mixed >> 21 & 8


@jit(forceinline=True)
def signs_of(mixed):
    """The signs, a byte for each 8 columns (an int or u32x16)."""
    return from_differences(mixed & 0xFEFEFEFE)


@jit(forceinline=True)
def unmix(mixed):
    """The inverse of mix."""
    s = signs_of(mixed)
    return s & 127 | (s >> 8 & 127) << 7 | (s >> 16 & 127) << 14 | (s >> 24 & 127) << 21 | scale_of(mixed) << 28


@jit(forceinline=True)
def bytes_of_rows(w, o, step):
    """A byte of each of 16 rows, 4 next to each other: i32x16."""
    return to_i32x16(join4x4(w, o, step))


@jit(forceinline=True)
def halves_of_rows(w, o, step):
    """A half of each of 16 rows, 4 next to each other: f32x16."""
    return to_f32x16(as_f16x16(join4x8(w, o, step)))


@jit(forceinline=True)
def words_of_rows(w, o, step):
    """Four bytes of each of 16 rows, 4 next to each other: u32x16."""
    return as_u32x16(join4x16(w, o, step))


_ORDER = [(16 if r > 1 else 0) + 4 * g + 2 * (r % 2) for g in range(4) for r in range(4)]
_LOW, _HIGH = shuffle(_ORDER), shuffle([k + 1 for k in _ORDER])


@jit(forceinline=True)
def word_pairs_of_rows(w, o, step):
    """Eight bytes of each of 16 rows, 4 next to each other: two u32x16."""
    both = concat(words_of_rows(w, o, step), words_of_rows(w, o + 16, step))
    return _LOW(both), _HIGH(both)
