"""Writing what `_iqk_search.encode_unit` found: codes and scales to the bytes that most of the family share."""

from .. import jit
from .gather import peek8, peek32, poke8, poke16


@jit(forceinline=True)
def chosen_of(chosen, block):
    """Step and table of a block."""
    both = (peek32(chosen, block * 4) ^ 0x80000000) - 0x80000000
    return both >> 1, both & 1


@jit(forceinline=True)
def code_at(codes, shift, block, c):
    """The code of column c, counted from the first column of a block; a block has 2**shift columns."""
    block += c >> shift
    return peek8(codes, (block >> 4 << shift + 4) + ((c & (1 << shift) - 1) << 4) + (block & 15))


@jit
def put_twos(codes, shift, block, bit, dst, o):
    """Bits ``bit`` and bit + 1 of 256 codes to 64 bytes; part p at bits 2 (p % 4).. of byte 32 (p / 4) + i."""
    for h in range(2):
        for i in range(32):
            x = 0
            for p in range(4):
                x |= (code_at(codes, shift, block, h * 128 + p * 32 + i) >> bit & 3) << 2 * p
            poke8(dst, o + h * 32 + i, x)


@jit
def put_bit(codes, shift, block, bit, dst, o):
    """That bit of the codes of 256 columns to 32 bytes; part p at bit p of byte i."""
    for i in range(32):
        x = 0
        for p in range(8):
            x |= (code_at(codes, shift, block, p * 32 + i) >> bit & 1) << p
        poke8(dst, o + i, x)


@jit
def put_nibbles(codes, shift, block, dst, o):
    """The low four bits of 256 codes to 128 bytes; parts p and p + 1 in the nibbles of bytes 16 p.. (p even)."""
    for p in range(0, 8, 2):
        for i in range(32):
            low = code_at(codes, shift, block, p * 32 + i) & 15
            poke8(dst, o + p * 16 + i, low | (code_at(codes, shift, block, p * 32 + 32 + i) & 15) << 4)


@jit
def put_scale_nibbles(chosen, add, dst, o):
    """The low nibbles of step + ``add`` of 16 blocks to 8 bytes; returns their high bits, two a block, as an integer."""
    high = 0
    for p in range(8):
        s0, s1 = chosen_of(chosen, 2 * p)[0] + add, chosen_of(chosen, 2 * p + 1)[0] + add
        poke8(dst, o + p, (s0 & 15) | (s1 & 15) << 4)
        high |= (s0 >> 4 & 3 | (s1 >> 4 & 3) << 2) << 4 * p
    return high


@jit
def put_tables(chosen, dst, o):
    """The tables of 16 blocks, a bit each, to 2 bytes."""
    bits = 0
    for k in range(16):
        bits |= chosen_of(chosen, k)[1] << k
    poke16(dst, o, bits)
