"""Slow and obvious twins of the trellis types: one state, one multiplication, one weight at a time."""

import struct

import numpy as np

F = np.float32
IQ4 = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)


def sequence(state: int, offset: int, n: int) -> list[int]:
    """The n values of a state."""
    x, out = state + offset, []
    for _ in range(n):
        x = x * 0xCBAC1FED % 2**32
        out.append(sum(byte & 63 for byte in x.to_bytes(4, "little")) - 126)
    return out


def row_blocks(row: bytes, size: int):
    d = F(struct.unpack_from("<f", row)[0])
    return d, [row[i : i + size] for i in range(4, len(row), size)]


def low_or_high_nibble(data: bytes, i: int) -> int:
    """Nibble i where the low ones of all bytes come first."""
    n = len(data)
    return data[i] & 15 if i < n else data[i - n] >> 4


def iq1_kt(row: bytes, n: int) -> list:
    out, (d, blocks) = [], row_blocks(row, 56)
    for b in blocks:
        for g in range(32):
            sh = b[g // 4]
            state = b[8 + g] + 256 * low_or_high_nibble(b[40:56], g) + 4096 * (sh >> (4 + g % 4) & 1)
            out += [d * F(IQ4[sh & 15]) * F(v) for v in sequence(state, 4096, 8)]
    return out


def iq2_kt(row: bytes, n: int) -> list:
    out, (d, blocks) = [], row_blocks(row, 68)
    for b in blocks:
        for g in range(32):
            scale = d * F(IQ4[low_or_high_nibble(b[:4], g // 4)])
            (state,) = struct.unpack_from("<H", b, 4 + 2 * g)
            out += [scale * F(v) for v in sequence(state, 4096, 8)]
    return out


def iq3_kt(row: bytes, n: int) -> list:
    out, (d, blocks) = [], row_blocks(row, 100)
    for b in blocks:
        for g in range(32):
            scale = d * F(low_or_high_nibble(b[:4], g // 4))
            (state,) = struct.unpack_from("<H", b, 4 + 2 * g)
            for k, v in enumerate(sequence(state, 4096, 8)):
                size = scale * F(abs(v))
                out.append(-size if b[68 + g % 4 * 8 + k] >> g // 4 & 1 else size)
    return out


def iq4_kt(row: bytes, n: int) -> list:
    out, (d, blocks) = [], row_blocks(row, 128)
    for b in blocks:
        for g in range(64):
            (head,) = struct.unpack_from("<I", b, g // 8 * 4)
            top = head >> (8 + 3 * (g % 8)) & 7
            state = b[32 + g] + 256 * low_or_high_nibble(b[96:], g) + 4096 * top
            scale = d * F((head & 255) // 2 - 64)
            out += [scale * F(v) for v in sequence(state, 36864 if head & 1 else 4096, 4)]
    return out


def in_products(plain, factor: float):
    """The reference's matrix products multiply the float of the row by a factor that its dequantization does not know."""

    def decode(row: bytes, n: int) -> list:
        d = F(struct.unpack_from("<f", row)[0]) * F(factor)
        return plain(struct.pack("<f", d) + row[4:], n)

    return decode


PLAIN = {
    "iq1_kt": iq1_kt,
    "iq2_kt": iq2_kt,
    "iq3_kt": iq3_kt,
    "iq4_kt": iq4_kt,
    "iq2_kt in products": in_products(iq2_kt, 1.05),
    "iq3_kt in products": in_products(iq3_kt, 1.01),
}
