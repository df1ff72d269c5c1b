"""Slow and obvious twins of the quant types: one weight at a time, from the description of the bytes alone.

``DECODE[name](rows, n_cols)`` gives float32 [rows, n_cols]. ``rows`` are lists of bytes objects: one row each for plain
types; for interleaved ones the whole group joined, as the function splits it itself.
"""

import importlib
import struct
from pathlib import Path

import numpy as np

F = np.float32
IQ4 = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)


def half(data: bytes, at: int) -> np.float32:
    return F(np.frombuffer(data, np.float16, 1, at)[0])


def signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def blocks(row: bytes, size: int, meta: int = 0):
    return [row[i : i + size] for i in range(meta, len(row), size)]


# ------------------------------------------------------------------------------------------------ plain types


def f32(row: bytes, n: int) -> list:
    return [F(x) for x in struct.unpack(f"<{n}f", row)]


def f16(row: bytes, n: int) -> list:
    return [half(row, 2 * c) for c in range(n)]


def bf16(row: bytes, n: int) -> list:
    return [F(struct.unpack("<f", b"\0\0" + row[2 * c : 2 * c + 2])[0]) for c in range(n)]


def q8_0(row: bytes, n: int) -> list:
    return [half(b, 0) * F(signed(b[2 + c])) for b in blocks(row, 34) for c in range(32)]


def nibble(packed: bytes, c: int) -> int:
    """Code of column c < 32 in 16 bytes: columns 0..15 are low nibbles."""
    return packed[c] & 15 if c < 16 else packed[c - 16] >> 4


def q4_0(row: bytes, n: int) -> list:
    return [half(b, 0) * F(nibble(b[2:], c) - 8) for b in blocks(row, 18) for c in range(32)]


def q4_k_scale(s: bytes, p: int) -> tuple[int, int]:
    """Scale and minimum of part p from the 12 packed bytes."""
    if p < 4:
        return s[p] & 63, s[p + 4] & 63
    return s[p + 4] & 15 | s[p - 4] >> 6 << 4, s[p + 4] >> 4 | s[p] >> 6 << 4


def q4_k(row: bytes, n: int) -> list:
    out = []
    for b in blocks(row, 144):
        for c in range(256):
            scale, least = q4_k_scale(b[4:16], c // 32)
            packed = b[16 + c // 64 * 32 + c % 32]
            code = packed >> 4 if c % 64 >= 32 else packed & 15
            out.append(half(b, 0) * F(scale) * F(code) - half(b, 2) * F(least))
    return out


def q6_k(row: bytes, n: int) -> list:
    out = []
    for b in blocks(row, 210):
        for c in range(256):
            h, p, i = c // 128, c % 128 // 32, c % 32
            low = b[h * 64 + p % 2 * 32 + i] >> p // 2 * 4 & 15
            high = b[128 + h * 32 + i] >> 2 * p & 3
            out.append(half(b, 208) * F(signed(b[192 + c // 16])) * F((low | high << 4) - 32))
    return out


def q5_0(row: bytes, n: int) -> list:
    out = []
    for b in blocks(row, 22):
        high = int.from_bytes(b[2:6], "little")
        out += [half(b, 0) * F((nibble(b[6:], c) | (high >> c & 1) << 4) - 16) for c in range(32)]
    return out


def q6_0(row: bytes, n: int) -> list:
    out = []
    for b in blocks(row, 26):
        for c in range(32):
            pair = {0: 0, 8: 4, 16: 2, 24: 6}[c // 8 * 8]
            out.append(half(b, 0) * F((nibble(b[10:], c) | (b[2 + c % 8] >> pair & 3) << 4) - 32))
    return out


def iq4_nl(row: bytes, n: int) -> list:
    return [half(b, 0) * F(IQ4[nibble(b[2:], c)]) for b in blocks(row, 18) for c in range(32)]


def q5_k(row: bytes, n: int) -> list:
    out = []
    for b in blocks(row, 176):
        for c in range(256):
            scale, least = q4_k_scale(b[4:16], c // 32)
            packed = b[48 + c // 64 * 32 + c % 32]
            code = (packed >> 4 if c % 64 >= 32 else packed & 15) | (b[16 + c % 32] >> c // 32 & 1) << 4
            out.append(half(b, 0) * F(scale) * F(code) - half(b, 2) * F(least))
    return out


def iq4_xs(row: bytes, n: int) -> list:
    out = []
    for b in blocks(row, 136):
        high = int.from_bytes(b[2:4], "little")
        for c in range(256):
            p = c // 32
            scale = (b[4 + p // 2] >> p % 2 * 4 & 15) | (high >> 2 * p & 3) << 4
            out.append(half(b, 0) * F(scale - 32) * F(IQ4[nibble(b[8 + p * 16 :], c % 32)]))
    return out


def iq4_ks(row: bytes, n: int) -> list:
    d, out = F(struct.unpack_from("<f", row)[0]), []
    for b in blocks(row, 136, meta=4):
        for c in range(256):
            p = c // 32
            value = IQ4[nibble(b[8 + p * 16 :], c % 32)] + 4 * (b[p] & 1)
            out.append(d * F((b[p] & 254) - 127) * F(value))
    return out


# ------------------------------------------------------------------------- interleaved types: group, row, column


def rows4(packed: bytes, r: int, c: int) -> int:
    """Nibble of row r, column c < 32 in the 64 bytes that most _R4 types share."""
    for k, first in enumerate((0, 16, 4, 20)):
        byte = packed[16 * k + 4 * r + c % 4]
        if c // 4 * 4 == first:
            return byte & 15
        if c // 4 * 4 == first + 8:
            return byte >> 4
    raise AssertionError


def q8_0_r8(group: bytes, r: int, c: int):
    b = group[c // 32 * 272 :]
    return half(b, 2 * r) * F(signed(b[16 + c % 32 // 4 * 32 + r * 4 + c % 4]))


def q4_0_r8(group: bytes, r: int, c: int):
    b = group[c // 32 * 144 :]
    packed = b[16 + c % 16 // 4 * 32 + r * 4 + c % 4]
    return half(b, 2 * r) * F((packed >> 4 if c % 32 >= 16 else packed & 15) - 8)


def q4_k_r4(group: bytes, r: int, c: int):
    b, p = group[c // 256 * 576 :], c % 256 // 32
    high, low = b[16 + p % 4 * 4 + r] >> p // 4 * 4, b[32 + p * 4 + r]
    scale, least = low & 15 | (high & 3) << 4, low >> 4 | (high >> 2 & 3) << 4
    return half(b, 2 * r) * F(scale) * F(rows4(b[64 + p * 64 :], r, c % 32)) - half(b, 8 + 2 * r) * F(least)


def q5_0_r4(group: bytes, r: int, c: int):
    b, c = group[c // 32 * 88 :], c % 32
    high = b[8 + r * 4 + c % 4] >> (0, 16, 4, 20, 8, 24, 12, 28).index(c // 4 * 4) & 1
    return half(b, 2 * r) * F((rows4(b[24:], r, c) | high << 4) - 16)


def q6_0_r4(group: bytes, r: int, c: int):
    b, c = group[c // 32 * 104 :], c % 32
    high = b[8 + c // 16 * 16 + r * 4 + c % 4] >> c % 16 // 4 * 2 & 3
    return half(b, 2 * r) * F((rows4(b[40:], r, c) | high << 4) - 32)


def iq4_nl_r4(group: bytes, r: int, c: int):
    b = group[c // 32 * 72 :]
    return half(b, 2 * r) * F(IQ4[rows4(b[8:], r, c % 32)])


def q5_k_r4(group: bytes, r: int, c: int):
    b, p = group[c // 256 * 704 :], c % 256 // 32
    two, low = b[16 + p % 4 * 4 + r] >> p // 4 * 4, b[32 + p * 4 + r]
    scale, least = low & 15 | (two & 3) << 4, low >> 4 | (two >> 2 & 3) << 4
    high = b[64 + p * 16 + r * 4 + c % 4] >> (0, 8, 4, 12, 16, 24, 20, 28).index(c % 32 // 4 * 4) & 1
    code = rows4(b[192 + p * 64 :], r, c % 32) | high << 4
    return half(b, 2 * r) * F(scale) * F(code) - half(b, 8 + 2 * r) * F(least)


def q6_k_r4(group: bytes, r: int, c: int):
    b, p = group[c // 256 * 840 :], c % 256 // 32
    byte = b[72 + p * 32 + c % 32 // 16 * 16 + r * 4 + c % 4]
    high = byte >> (0, 4, 2, 6)[c % 16 // 4] & 3
    code = rows4(b[328 + p * 64 :], r, c % 32) | high << 4
    return half(b, 2 * r) * F(signed(b[8 + c % 256 // 16 * 4 + r])) * F(code - 32)


def iq4_xs_r8(group: bytes, r: int, c: int):
    b, p = group[c // 256 * 1088 :], c % 256 // 32
    high, low = b[16 + p % 2 * 8 + r] >> p // 2 * 2 & 3, b[32 + p % 4 * 8 + r] >> p // 4 * 4 & 15
    packed = b[64 + p * 128 + c % 32 // 8 * 32 + r * 4 + c % 4]
    return half(b, 2 * r) * F((low | high << 4) - 32) * F(IQ4[packed >> 4 if c % 8 >= 4 else packed & 15])


def iq4_ks_r4(group: bytes, r: int, c: int):
    d, b, p = F(struct.unpack_from("<f", group, 4 * r)[0]), group[16 + c // 256 * 544 :], c % 256 // 32
    s = b[p * 4 + r]
    return d * F((s & 254) - 127) * F(IQ4[rows4(b[32 + p * 64 :], r, c % 32)] + 4 * (s & 1))


def bf16_r16(group: bytes, r: int, c: int):
    at = c // 2 * 64 + r * 4 + c % 2 * 2
    return F(struct.unpack("<f", b"\0\0" + group[at : at + 2])[0])


PLAIN = {f.__name__: f for f in (f32, f16, bf16, q8_0, q4_0, q5_0, q6_0, iq4_nl)}
PLAIN |= {f.__name__: f for f in (q4_k, q5_k, q6_k, iq4_xs, iq4_ks)}
INTERLEAVED = {
    "q8_0_r8": (q8_0_r8, 8),
    "q4_0_r8": (q4_0_r8, 8),
    "q5_0_r4": (q5_0_r4, 4),
    "q6_0_r4": (q6_0_r4, 4),
    "iq4_nl_r4": (iq4_nl_r4, 4),
    "q4_k_r4": (q4_k_r4, 4),
    "q5_k_r4": (q5_k_r4, 4),
    "q6_k_r4": (q6_k_r4, 4),
    "iq4_xs_r8": (iq4_xs_r8, 8),
    "iq4_ks_r4": (iq4_ks_r4, 4),
    "bf16_r16": (bf16_r16, 16),
}


def learn_families() -> None:
    """Add the PLAIN and INTERLEAVED of the other families, formats_*.py beside this file (which use this file)."""
    for path in sorted(Path(__file__).parent.glob("formats_*.py")):
        family = importlib.import_module(f"naive.{path.stem}")
        PLAIN.update(getattr(family, "PLAIN", {}))
        INTERLEAVED.update(getattr(family, "INTERLEAVED", {}))


def decode(name: str, rows: np.ndarray, n_cols: int) -> np.ndarray:
    """uint8 [rows, row bytes] -> float32 [rows, n_cols]; infinite and NaN scales as IEEE has them."""
    if name not in PLAIN and name not in INTERLEAVED:
        learn_families()
    with np.errstate(all="ignore"):
        if name in PLAIN:
            return np.array([PLAIN[name](row.tobytes(), n_cols) for row in rows], F)
        weight, k = INTERLEAVED[name]
        out = np.empty((len(rows), n_cols), F)
        for r in range(len(rows)):
            group = rows[r - r % k : r - r % k + k].tobytes()
            out[r] = [weight(group, r % k, c) for c in range(n_cols)]
        return out
