"""Slow and obvious twins of the older, bitnet and 8-bit types: one weight at a time. See `naive.formats`."""

import math
import struct

from naive.formats import F, blocks, half, nibble, signed


def q4_1(row: bytes, n: int) -> list:
    return [half(b, 0) * F(nibble(b[4:], c)) + half(b, 2) for b in blocks(row, 20) for c in range(32)]


def q5_1(row: bytes, n: int) -> list:
    out = []
    for b in blocks(row, 24):
        high = int.from_bytes(b[4:8], "little")
        out += [half(b, 0) * F(nibble(b[8:], c) + 16 * (high >> c & 1)) + half(b, 2) for c in range(32)]
    return out


def q2_k(row: bytes, n: int) -> list:
    out = []
    for b in blocks(row, 84):
        for c in range(256):
            scale, least = b[c // 16] % 16, b[c // 16] // 16
            code = b[16 + c // 128 * 32 + c % 32] >> c % 128 // 32 * 2 & 3
            out.append(half(b, 80) * F(scale) * F(code) - half(b, 82) * F(least))
    return out


def q3_k_scales(s: bytes) -> list[int]:
    low = [x % 16 for x in s[:8]] + [x // 16 for x in s[:8]]
    high = [s[8 + k % 4] // 4 ** (k // 4) % 4 for k in range(16)]
    return [a + 16 * b - 32 for a, b in zip(low, high)]


def q3_k(row: bytes, n: int) -> list:
    out = []
    for b in blocks(row, 110):
        scales = q3_k_scales(b[96:108])
        for c in range(256):
            low = b[32 + c // 128 * 32 + c % 32] >> c % 128 // 32 * 2 & 3
            code = low - (0 if b[c % 32] >> c // 32 & 1 else 4)
            out.append(half(b, 108) * F(scales[c // 16]) * F(code))
    return out


E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def e2m1(code: int) -> float:
    return -E2M1[code - 8] if code >= 8 else E2M1[code]


def mxfp4(row: bytes, n: int) -> list:
    return [F(math.ldexp(e2m1(nibble(b[1:], c)), b[0] - 127)) for b in blocks(row, 17) for c in range(32)]


def q1_0_g128(row: bytes, n: int) -> list:
    out = []
    for b in blocks(row, 18):
        d = half(b, 0)
        out += [d if b[2 + c // 8] & 1 << c % 8 else -d for c in range(128)]
    return out


def digit(byte: int, j: int) -> int:
    """Digit j in base 3 of 243/256 of the byte, the first one the last of the number."""
    return 3 * (byte * 3 ** (4 - j) % 256) // 256


def iq1_bn(row: bytes, n: int) -> list:
    out, d = [], half(row, 0)
    for b in blocks(row, 13, meta=2):
        for c in range(64):
            k, i = divmod(c, 16)
            t = digit(b[12], k) if i == 15 else digit(b[3 * k + i // 5], i % 5)
            out.append(d * F(t - 1))
    return out


def iq2_bn(row: bytes, n: int) -> list:
    d = F(struct.unpack_from("<f", row)[0])
    return [d * F((b[c % 16] >> c // 16 * 2 & 3) - 1) for b in blocks(row, 16, meta=4) for c in range(64)]


def q8_kv(row: bytes, n: int) -> list:
    d = F(struct.unpack_from("<f", row)[0])
    return [d * F(x) for x in struct.unpack_from(f"<{n}b", row, 8)]


# ------------------------------------------------------------------------- interleaved types: group, row, column


def two_bits(data: bytes, r: int, c: int) -> int:
    """Code of row r of 4 and column c, of 16 bytes for each 16 columns."""
    return data[c // 16 * 16 + r * 4 + c % 4] >> c % 16 // 4 * 2 & 3


def q2_k_r4(group: bytes, r: int, c: int):
    b, c = group[c // 256 * 336 :], c % 256
    scale = b[16 + c // 16 * 4 + r]
    return half(b, 2 * r) * F(scale % 16) * F(two_bits(b[80:], r, c)) - half(b, 8 + 2 * r) * F(scale // 16)


def q3_k_r4(group: bytes, r: int, c: int):
    b, c = group[c // 256 * 440 :], c % 256
    k = c // 16
    low, two = b[24 + k % 8 * 4 + r] >> k // 8 * 4 & 15, b[8 + k % 4 * 4 + r] >> k // 4 * 2 & 3
    high = b[56 + c // 32 * 16 + r * 4 + c % 4] >> c % 32 // 4 & 1
    return half(b, 2 * r) * F(low + 16 * two - 32) * F(two_bits(b[184:], r, c) + 4 * high - 4)


def iq2_bn_r4(group: bytes, r: int, c: int):
    return F(struct.unpack_from("<f", group, 4 * r)[0]) * F(two_bits(group[16:], r, c) - 1)


def mxfp4_r8(group: bytes, r: int, c: int):
    b, c = group[c // 32 * 136 :], c % 32
    packed = b[8 + c % 16 // 4 * 32 + r * 4 + c % 4]
    return F(math.ldexp(e2m1(packed >> 4 if c >= 16 else packed & 15), b[r] - 127))


def q8_kv_r8(group: bytes, r: int, c: int):
    return F(struct.unpack_from("<f", group, 4 * r)[0]) * F(signed(group[32 + c // 4 * 32 + r * 4 + c % 4]))


def q8_k_r8(group: bytes, r: int, c: int):
    b, c = group[c // 256 * 2064 :], c % 256
    return half(b, 2 * r) * F(signed(b[16 + c // 4 * 32 + r * 4 + c % 4]))


def q8_k_r16(group: bytes, r: int, c: int):
    b, c = group[c // 256 * 4128 :], c % 256
    return half(b, 2 * r) * F(b[32 + c // 4 * 64 + r * 4 + c % 4] - 128)


PLAIN = {f.__name__: f for f in (q4_1, q5_1, q2_k, q3_k, mxfp4, q1_0_g128, iq1_bn, iq2_bn, q8_kv)}
INTERLEAVED = {
    "q2_k_r4": (q2_k_r4, 4),
    "q3_k_r4": (q3_k_r4, 4),
    "iq2_bn_r4": (iq2_bn_r4, 4),
    "mxfp4_r8": (mxfp4_r8, 8),
    "q8_kv_r8": (q8_kv_r8, 8),
    "q8_k_r8": (q8_k_r8, 8),
    "q8_k_r16": (q8_k_r16, 16),
}
