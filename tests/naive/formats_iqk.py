"""Slow and obvious twins of the IQ*_K family: one weight at a time. See `naive.formats`."""

import math
import struct

import numpy as np
from naive.formats import IQ4, F, blocks, half, nibble, rows4, signed

IQ2 = (-31, -13, 1, 17)
IQ3 = (-63, -40, -23, -10, 1, 13, 28, 47)
IQ5 = (-126, -114, -103, -92, -83, -74, -65, -57, -50, -43, -36, -30, -24, -18, -12, -6,
       -1, 5, 11, 17, 23, 29, 36, 43, 51, 59, 68, 77, 87, 97, 109, 121)  # fmt: skip
PAIRS = ((-63, -23), (-63, 13), (-40, -63), (-40, -10), (-40, 13), (-40, 47), (-23, -40), (-23, -23),
         (-23, 1), (-23, 13), (-23, 28), (-10, -63), (-10, 1), (-10, 13), (-10, 47), (1, -23),
         (1, -10), (1, 1), (1, 13), (1, 28), (13, -40), (13, -23), (13, -10), (13, 1),
         (13, 13), (28, -63), (28, -23), (28, 1), (28, 28), (28, 47), (47, -23), (47, 13))  # fmt: skip


def u16(data: bytes, at: int) -> int:
    return data[at] | data[at + 1] << 8


def two(packed: bytes, c: int) -> int:
    """2-bit code of column c of 256 in 64 bytes."""
    return packed[c // 128 * 32 + c % 32] >> c % 128 // 32 * 2 & 3


def bit(packed: bytes, c: int) -> int:
    """A bit of column c of 256 in 32 bytes."""
    return packed[c % 32] >> c // 32 & 1


def pair_nibble(packed: bytes, c: int) -> int:
    """Nibble of column c of 256 in 128 bytes, 64 columns in 32 bytes."""
    return packed[c // 64 * 32 + c % 32] >> c % 64 // 32 * 4 & 15


def nth_nibble(packed: bytes, k: int) -> int:
    return packed[k // 2] >> k % 2 * 4 & 15


def six_bit_scale(b: bytes, k: int) -> int:
    """Scale of the k-th 16 columns of iq4_k and iq5_k."""
    return nth_nibble(b[8:16], k) + 16 * (int.from_bytes(b[4:8], "little") >> 2 * k & 3) - 32


def iq2_k(row: bytes, n: int) -> list:
    out = []
    for b in blocks(row, 76):
        for c in range(256):
            k = c // 16
            value = IQ2[two(b[12:], c)] + 5 * (u16(b, 2) >> k & 1)
            out.append(half(b, 0) * F(nth_nibble(b[4:12], k) - 8) * F(value))
    return out


def iq3_k(row: bytes, n: int) -> list:
    out = []
    for b in blocks(row, 110):
        for c in range(256):
            k = c // 16
            scale = (2 * nth_nibble(b[6:14], k) + 1) * (-1 if u16(b, 4) >> k & 1 else 1)
            value = IQ3[two(b[14:78], c) + 4 * bit(b[78:], c)] + 4 * (u16(b, 2) >> k & 1)
            out.append(half(b, 0) * F(scale) * F(value))
    return out


def iq4_k(row: bytes, n: int) -> list:
    out = []
    for b in blocks(row, 144):
        for c in range(256):
            value = IQ4[nibble(b[16 + c // 32 * 16 :], c % 32)] + 4 * (u16(b, 2) >> c // 16 & 1)
            out.append(half(b, 0) * F(six_bit_scale(b, c // 16)) * F(value))
    return out


def iq5_k(row: bytes, n: int) -> list:
    out = []
    for b in blocks(row, 176):
        for c in range(256):
            value = IQ5[pair_nibble(b[16:144], c) + 16 * bit(b[144:], c)] + 2 * (u16(b, 2) >> c // 16 & 1)
            out.append(half(b, 0) * F(six_bit_scale(b, c // 16)) * F(value))
    return out


def fused(x: np.float32, y: np.float32, z: np.float32) -> np.float32:
    """x * y + z rounded once: the product of two float32 is exact in a wider float, and so is the sum here."""
    return F(np.longdouble(x) * np.longdouble(y) + np.longdouble(z))


def cubic(q: int) -> np.float32:
    c0, c1, c2, c3 = F(-127), F(6.2568), F(-0.11218), F(0.0011972)
    return fused(F(q), fused(F(q), fused(F(q), c3, c2), c1), c0)


CUBIC = [cubic(q) for q in range(64)]


def iq6_k_with(values):
    def decode(row: bytes, n: int) -> list:
        out = []
        for b in blocks(row, 212):
            for c in range(256):
                value = values[pair_nibble(b[20:148], c) + 16 * two(b[148:], c)] + F(u16(b, 2) >> c // 16 & 1)
                out.append(half(b, 0) * F(signed(b[4 + c // 16])) * F(value))
        return out

    return decode


def iq2_ks(row: bytes, n: int) -> list:
    out = []
    for b in blocks(row, 70, meta=2):
        for c in range(256):
            p = c // 32
            scale = nth_nibble(b[2:6], p) + 16 * (b[1] >> p & 1) - 16
            out.append(half(row, 0) * F(scale) * F(IQ2[two(b[6:], c)] + 5 * (b[0] >> p & 1)))
    return out


def iq3_ks(row: bytes, n: int) -> list:
    out = []
    for b in blocks(row, 102, meta=2):
        for c in range(256):
            p = c // 32
            scale = (b[2 + p % 4] >> p // 4 * 4 & 15) + 16 * (b[0] >> p & 1) - 16
            value = IQ3[two(b[6:70], c) + 4 * bit(b[70:], c)] + 4 * (b[1] >> p & 1)
            out.append(half(row, 0) * F(scale) * F(value))
    return out


def iq5_ks(row: bytes, n: int) -> list:
    d, out = F(struct.unpack_from("<f", row)[0]), []
    for b in blocks(row, 168, meta=4):
        for c in range(256):
            s = b[c // 32]
            value = IQ5[pair_nibble(b[8:136], c) + 16 * bit(b[136:], c)] + 2 * (s & 1)
            out.append(d * F((s & 254) - 127) * F(value))
    return out


def iq4_kss(row: bytes, n: int) -> list:
    d, out = F(struct.unpack_from("<f", row)[0]), []
    for b in blocks(row, 16, meta=4):
        words = [u16(b, 2 * k) for k in range(8)]
        s = sum((v & 1) << k for k, v in enumerate(words))
        codes = [(v & 0xFFFE) ^ (v & 0xFFFE) >> 1 for v in words]
        assert all(bin(v).count("1") % 2 == 0 for v in codes)
        for c in range(32):
            code = codes[c % 16 // 2] >> (8 * (c % 2) + 4 * (c // 16)) & 15
            out.append(d * F((s & 254) - 127) * F(IQ4[code] + 4 * (s & 1)))
    return out


def iq2_kl(row: bytes, n: int) -> list:
    out = []
    for b in blocks(row, 86, meta=2):
        for c in range(256):
            p, j = c // 32, c % 32 // 2
            scale = (b[2 + p % 4] >> p // 4 * 4 & 15) + 16 * (u16(b, 0) >> 2 * p & 3) - 32
            code = (b[6 + p // 2 * 16 + j] >> p % 2 * 4 & 15) + 16 * (b[70 + j] >> p & 1)
            out.append(half(row, 0) * F(scale) * F(PAIRS[code][c % 2]))
    return out


# ------------------------------------------------------------------------- interleaved types: group, row, column


def head(b: bytes, r: int, c: int):
    """d, and which table, of row r, column c < 256."""
    return half(b, 2 * r), b[8 + c % 32 // 16 * 4 + r] >> c // 32 & 1


def group_nibble(packed: bytes, r: int, c: int) -> int:
    """Nibble of row r's 16 columns around c: 32 bytes for the first 128 columns (low) and the others (high)."""
    return packed[c // 16 * 4 % 32 + r] >> c // 128 * 4 & 15


def group_two(packed: bytes, r: int, c: int) -> int:
    return packed[c // 16 * 16 + r * 4 + c % 4] >> c % 16 // 4 * 2 & 3


def group_scale(b: bytes, r: int, c: int) -> int:
    high = b[16 + c // 16 * 4 % 16 + r] >> c // 64 * 2 & 3
    return group_nibble(b[32:], r, c) + 16 * high - 32


def fifth_bit(packed: bytes, r: int, c: int) -> int:
    place = (0, 8, 16, 24, 4, 12, 20, 28).index(c % 32 // 4 * 4)
    return packed[c // 32 * 16 + r * 4 + c % 4] >> place & 1


def iq2_k_r4(group: bytes, r: int, c: int):
    b, c = group[c // 256 * 304 :], c % 256
    d, table = head(b, r, c)
    return d * F(group_nibble(b[16:], r, c) - 8) * F(IQ2[group_two(b[48:], r, c)] + 5 * table)


def iq3_k_r4(group: bytes, r: int, c: int):
    b, c = group[c // 256 * 440 :], c % 256
    d, table = head(b, r, c)
    minus = b[16 + c % 32 // 16 * 4 + r] >> c // 32 & 1
    code = group_two(b[56:], r, c) + 4 * (b[312 + c // 32 * 16 + r * 4 + c % 4] >> c % 32 // 4 & 1)
    return d * F((2 * group_nibble(b[24:], r, c) + 1) * (1 - 2 * minus)) * F(IQ3[code] + 4 * table)


def iq4_k_r4(group: bytes, r: int, c: int):
    b, c = group[c // 256 * 576 :], c % 256
    d, table = head(b, r, c)
    return d * F(group_scale(b, r, c)) * F(IQ4[rows4(b[64 + c // 32 * 64 :], r, c % 32)] + 4 * table)


def iq5_k_r4(group: bytes, r: int, c: int):
    b, c = group[c // 256 * 704 :], c % 256
    d, table = head(b, r, c)
    code = rows4(b[64 + c // 32 * 64 :], r, c % 32) + 16 * fifth_bit(b[576:], r, c)
    return d * F(group_scale(b, r, c)) * F(IQ5[code] + 2 * table)


def iq5_ks_r4(group: bytes, r: int, c: int):
    d = F(struct.unpack_from("<f", group, 4 * r)[0])
    b, c = group[16 + c // 256 * 672 :], c % 256
    s = b[c // 32 * 4 + r]
    code = rows4(b[32 + c // 32 * 64 :], r, c % 32) + 16 * fifth_bit(b[544:], r, c)
    return d * F((s & 254) - 127) * F(IQ5[code] + 2 * (s & 1))


PLAIN = {f.__name__: f for f in (iq2_k, iq3_k, iq4_k, iq5_k, iq2_ks, iq3_ks, iq5_ks, iq4_kss, iq2_kl)}
PLAIN["iq6_k"] = iq6_k_with(CUBIC)
#: products take the nearest integers
PLAIN["iq6_k in products"] = iq6_k_with([F(math.floor(v + F(0.5))) for v in CUBIC])
INTERLEAVED = {f.__name__: (f, 4) for f in (iq2_k_r4, iq3_k_r4, iq4_k_r4, iq5_k_r4, iq5_ks_r4)}
