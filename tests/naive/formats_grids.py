"""Slow and obvious twins of the i-quants on grids: one weight at a time. See `naive.formats`. Grids are gguf's."""

from gguf import quants
from naive.formats import F, blocks, half


def grid(kind) -> list:
    kind.init_grid()
    return [[int(v) for v in point] for point in kind.grid.reshape(kind.grid_shape)]


XXS2, XS2, S2 = grid(quants.IQ2_XXS), grid(quants.IQ2_XS), grid(quants.IQ2_S)
XXS3, S3, TERNARY = grid(quants.IQ3_XXS), grid(quants.IQ3_S), grid(quants.IQ1_S)


def number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


def nibble_of(data: bytes, k: int) -> int:
    return data[k // 2] >> k % 2 * 4 & 15


def sign(seven: int, i: int) -> int:
    """Sign i of eight; the eighth makes the number of minus signs even."""
    minus = bin(seven).count("1") % 2 if i == 7 else seven >> i & 1
    return -1 if minus else 1


def sign_of_difference(seven: int, i: int) -> int:
    """Sign i of eight, minus where bits i - 1 and i differ, with zeros beyond."""
    bits = [0, *(seven >> k & 1 for k in range(7)), 0]
    return -1 if bits[i] != bits[i + 1] else 1


def plain_sign(byte: int, i: int) -> int:
    return -1 if byte >> i & 1 else 1


def odd(d, scale: int, divisor: int):
    return d * F(2 * scale + 1) / F(divisor)


# ------------------------------------------------------------------------------------------------ plain types


def iq2_xxs(row: bytes, n: int) -> list:
    out = []
    for b in blocks(row, 66):
        for c in range(256):
            at, g = 2 + c // 32 * 8, c % 32 // 8
            word = number(b, at + 4, 4)
            out.append(odd(half(b, 0), word >> 28, 8) * F(XXS2[b[at + g]][c % 8] * sign(word >> 7 * g & 127, c % 8)))
    return out


def iq2_xs(row: bytes, n: int) -> list:
    out = []
    for b in blocks(row, 74):
        for c in range(256):
            q = number(b, 2 + c // 8 * 2, 2)
            out.append(odd(half(b, 0), nibble_of(b[66:], c // 16), 8) * F(XS2[q & 511][c % 8] * sign(q >> 9, c % 8)))
    return out


def iq2_s(row: bytes, n: int) -> list:
    out = []
    for b in blocks(row, 82):
        for c in range(256):
            g = c // 8
            index = b[2 + g] | (b[66 + g // 4] >> g % 4 * 2 & 3) << 8
            value = S2[index][c % 8] * plain_sign(b[34 + g], c % 8)
            out.append(odd(half(b, 0), nibble_of(b[74:], c // 16), 8) * F(value))
    return out


def iq3_xxs(row: bytes, n: int) -> list:
    out = []
    for b in blocks(row, 98):
        for c in range(256):
            word = number(b, 66 + c // 32 * 4, 4)
            value = XXS3[b[2 + c // 4]][c % 4] * sign(word >> c % 32 // 8 * 7 & 127, c % 8)
            out.append(odd(half(b, 0), word >> 28, 4) * F(value))
    return out


def iq3_s(row: bytes, n: int) -> list:
    out = []
    for b in blocks(row, 110):
        for c in range(256):
            g = c // 4
            index = b[2 + g] | (b[66 + g // 8] >> g % 8 & 1) << 8
            value = S3[index][c % 4] * plain_sign(b[74 + c // 8], c % 8)
            out.append(odd(half(b, 0), nibble_of(b[106:], c // 32), 1) * F(value))
    return out


def shifted(index: int, i: int, down: int):
    return F(TERNARY[index][i]) + F(-0.125 if down else 0.125)


def iq1_s(row: bytes, n: int) -> list:
    out = []
    for b in blocks(row, 50):
        for c in range(256):
            high, g = number(b, 34 + c // 32 * 2, 2), c % 32 // 8
            index = b[2 + c // 8] | (high >> 3 * g & 7) << 8
            out.append(odd(half(b, 0), high >> 12 & 7, 1) * shifted(index, c % 8, high >> 15))
    return out


def iq1_m(row: bytes, n: int) -> list:
    out = []
    for b in blocks(row, 56):
        words = [number(b, 48 + 2 * k, 2) for k in range(4)]
        d = half(sum((w >> 12) << 4 * k for k, w in enumerate(words)).to_bytes(2, "little"), 0)
        for c in range(256):
            high = nibble_of(b[32:], c // 8)
            scale = words[c // 64] >> c % 64 // 16 * 3 & 7
            out.append(odd(d, scale, 1) * shifted(b[c // 8] | (high & 7) << 8, c % 8, high >> 3))
    return out


# ------------------------------------------------------------------------- interleaved types: group, row, column


def scale_in_low_bits(mixed: bytes) -> int:
    return sum((mixed[i] & 1) << i for i in range(4))


def iq2_xxs_r4(group: bytes, r: int, c: int):
    b, p, g = group[c // 256 * 264 :], c % 256 // 32, c % 32 // 8
    mixed = b[8 + p * 16 + r * 4 : 12 + p * 16 + r * 4]
    value = XXS2[b[136 + p * 16 + r * 4 + g]][c % 8] * sign_of_difference(mixed[g] >> 1, c % 8)
    return odd(half(b, 2 * r), scale_in_low_bits(mixed), 8) * F(value)


def iq3_xxs_r4(group: bytes, r: int, c: int):
    b, p = group[c // 256 * 392 :], c % 256 // 32
    mixed = b[8 + p * 16 + r * 4 : 12 + p * 16 + r * 4]
    value = XXS3[b[136 + p * 32 + r * 8 + c % 32 // 4]][c % 4] * sign_of_difference(mixed[c % 32 // 8] >> 1, c % 8)
    return odd(half(b, 2 * r), scale_in_low_bits(mixed), 4) * F(value)


def iq2_xs_r4(group: bytes, r: int, c: int):
    b, p = group[c // 256 * 296 :], c % 256 // 32
    q = number(b, 8 + p * 32 + r * 8 + c % 32 // 8 * 2, 2)
    scale = b[264 + p * 4 + r] >> c % 32 // 16 * 4 & 15
    return odd(half(b, 2 * r), scale, 8) * F(XS2[q & 511][c % 8] * sign_of_difference(q >> 9, c % 8))


def iq2_s_r4(group: bytes, r: int, c: int):
    b, p, g = group[c // 256 * 328 :], c % 256 // 32, c % 32 // 8
    index = b[8 + p * 16 + r * 4 + g] | (b[136 + p * 4 + r] >> 2 * g & 3) << 8
    scale = b[296 + p * 4 + r] >> c % 32 // 16 * 4 & 15
    return odd(half(b, 2 * r), scale, 8) * F(S2[index][c % 8] * plain_sign(b[168 + p * 16 + r * 4 + g], c % 8))


def iq3_s_r4(group: bytes, r: int, c: int):
    b, p, g = group[c // 256 * 440 :], c % 256 // 32, c % 32 // 4
    index = b[8 + p * 32 + g % 4 * 8 + g // 4 * 4 + r] | (b[264 + p * 4 + r] >> g & 1) << 8
    minus = b[296 + p * 16 + r * 4 + c % 4] >> g & 1
    scale = b[424 + p % 4 * 4 + r] >> p // 4 * 4 & 15
    return odd(half(b, 2 * r), scale, 1) * F(S3[index][c % 4] * (-1 if minus else 1))


def iq1_s_r4(group: bytes, r: int, c: int):
    b, g = group[8 + c // 32 * 24 :], c % 32 // 8
    high = number(b, 16 + 2 * r, 2)
    index = b[4 * g + r] | (high >> 3 * g & 7) << 8
    return odd(half(group, 2 * r), high >> 12 & 7, 1) * shifted(index, c % 8, high >> 15)


def iq1_m_r4(group: bytes, r: int, c: int):
    b, g = group[8 + c // 32 * 28 :], c % 32 // 8
    high = b[16 + g // 2 * 4 + r] >> g % 2 * 4 & 15
    scale = b[24 + r] >> g // 2 * 4 & 15
    return half(group, 2 * r) * F(scale) * shifted(b[4 * g + r] | (high & 7) << 8, c % 8, high >> 3)


PLAIN = {f.__name__: f for f in (iq1_s, iq1_m, iq2_xxs, iq2_xs, iq2_s, iq3_xxs, iq3_s)}
INTERLEAVED = {
    f.__name__: (f, 4) for f in (iq1_s_r4, iq1_m_r4, iq2_xxs_r4, iq2_xs_r4, iq2_s_r4, iq3_xxs_r4, iq3_s_r4)
}
