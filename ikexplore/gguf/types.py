"""Every tensor type id that a GGUF of ik_llama.cpp (or llama.cpp) can carry: names, sizes, interleave.

The one table of sizes outside the kernels; it needs nothing but itself, so that a header can be read without them.
Source: ggml's type traits at ik_llama.cpp 8337e4c (August 2026), plus ids that only llama.cpp writes (the last group).
"""

from math import prod
from typing import NamedTuple

from ..errors import GGUFError


class TypeInfo(NamedTuple):
    """One type: a row of ``n`` columns takes ``row_meta + n / block * block_bytes`` bytes."""

    name: str  #: lower-case name
    id: int  #: ggml type id, the number in the file
    block: int  #: columns in a block
    block_bytes: int  #: bytes of a block
    row_meta: int  #: bytes of each row besides its blocks
    interleave: int  #: rows that are stored as one group; ne1 must be a multiple of it


# name, id, columns in a block, bytes of a block, bytes per row besides the blocks, rows stored as one group
_TABLE = """
f32 0 1 4 0 1
f16 1 1 2 0 1
q4_0 2 32 18 0 1
q4_1 3 32 20 0 1
q5_0 6 32 22 0 1
q5_1 7 32 24 0 1
q8_0 8 32 34 0 1
q8_1 9 32 36 0 1
q2_k 10 256 84 0 1
q3_k 11 256 110 0 1
q4_k 12 256 144 0 1
q5_k 13 256 176 0 1
q6_k 14 256 210 0 1
q8_k 15 256 296 0 1
iq2_xxs 16 256 66 0 1
iq2_xs 17 256 74 0 1
iq3_xxs 18 256 98 0 1
iq1_s 19 256 50 0 1
iq4_nl 20 32 18 0 1
iq3_s 21 256 110 0 1
iq2_s 22 256 82 0 1
iq4_xs 23 256 136 0 1
i8 24 1 1 0 1
i16 25 1 2 0 1
i32 26 1 4 0 1
i64 27 1 8 0 1
f64 28 1 8 0 1
iq1_m 29 256 56 0 1
bf16 30 1 2 0 1
q4_0_4x4 31 32 18 0 4
q4_0_4x8 32 32 18 0 4
q4_0_8x8 33 32 18 0 8
i2_s 36 1 1 0 1
mxfp4 39 32 17 0 1
q1_0_g128 41 128 18 0 1
q8_0_x4 97 32 34 0 1
q8_1_x4 98 32 36 0 1
q8_2_x4 99 32 36 0 1
q6_0 133 32 26 0 1
iq1_bn 134 64 13 2 1
iq2_bn 135 64 16 4 1
q8_k64 136 64 68 0 1
iq2_k 137 256 76 0 1
iq3_k 138 256 110 0 1
iq4_k 139 256 144 0 1
iq5_k 140 256 176 0 1
iq6_k 141 256 212 0 1
iq4_ks 144 256 136 4 1
iq2_ks 145 256 70 2 1
iq4_kss 146 256 128 4 1
q8_k16 147 64 64 20 1
q8_k32 148 256 296 0 1
q8_kr8 149 256 296 0 8
q8_k128 150 128 140 0 1
q8_kv 151 32 32 8 1
iq5_ks 152 256 168 4 1
iq2_kt 153 256 68 4 1
iq3_kt 154 256 100 4 1
iq4_kt 155 256 128 4 1
iq3_ks 156 256 102 2 1
iq2_kl 157 256 86 2 1
iq1_kt 158 256 56 4 1
q4_0_r8 202 32 18 0 8
q5_0_r4 206 32 22 0 4
q8_0_r8 208 32 34 0 8
q2_k_r4 210 256 84 0 4
q3_k_r4 211 256 110 0 4
q4_k_r4 212 256 144 0 4
q5_k_r4 213 256 176 0 4
q6_k_r4 214 256 210 0 4
iq2_xxs_r4 216 256 66 0 4
iq2_xs_r4 217 256 74 0 4
iq3_xxs_r4 218 256 98 0 4
iq1_s_r4 219 32 6 2 4
iq4_nl_r4 220 32 18 0 4
iq3_s_r4 221 256 110 0 4
iq2_s_r4 222 256 82 0 4
iq4_xs_r8 223 256 136 0 8
iq1_m_r4 229 32 7 2 4
bf16_r16 230 1 2 0 16
q6_0_r4 233 32 26 0 4
iq2_bn_r4 335 64 16 4 4
iq2_k_r4 337 256 76 0 4
iq3_k_r4 338 256 110 0 4
iq4_k_r4 339 256 144 0 4
iq5_k_r4 340 256 176 0 4
iq4_ks_r4 344 256 136 4 4
iq5_ks_r4 352 256 168 4 4
mxfp4_r8 353 32 17 0 8
q8_k_r16 397 256 258 0 16
q8_kv_r8 398 32 32 4 8
q8_k_r8 399 256 258 0 8

tq1_0 34 256 54 0 1
tq2_0 35 256 66 0 1
nvfp4 40 64 36 0 1
"""

TYPES: dict[str, TypeInfo] = {}  #: lower-case name -> TypeInfo
for _line in _TABLE.split("\n"):
    if _line:
        _name, *_numbers = _line.split()
        TYPES[_name] = TypeInfo(_name, *map(int, _numbers))
BY_ID: dict[int, TypeInfo] = {t.id: t for t in TYPES.values()}  #: ggml type id -> TypeInfo

#: ids that no type of ggml has: for types that are registered while the program runs
OWN_IDS = range(512, 1024)

#: no tensor of a GGUF may have more elements or bytes than an int64 can count
INT64_MAX = 2**63 - 1


def type_info(name: str) -> TypeInfo:
    """The TypeInfo of a type name, in any case. Raises GGUFError for a name that no GGUF can hold."""
    info = TYPES.get(name.lower()) if isinstance(name, str) else None
    if info is None:
        raise GGUFError(f"unknown tensor type {name!r}; known: {', '.join(sorted(TYPES))}")
    return info


def add(info: TypeInfo) -> None:
    """Enter a type of the user's own, in the place of an earlier one of its name. The id of ``info`` is one of OWN_IDS."""
    assert info.id in OWN_IDS and info.id not in BY_ID
    TYPES[info.name] = BY_ID[info.id] = info


def remove(name: str) -> None:
    """Take away a type of the user's own. Its id stays taken: what was made with it is still read as it was."""
    assert TYPES[name].id in OWN_IDS
    del TYPES[name]


def row_bytes(name: str, n_cols: int) -> int:
    """Bytes of one row of ``n_cols`` columns. Raises GGUFError when they do not fill whole blocks."""
    info = type_info(name)
    if n_cols % info.block:
        raise GGUFError(f"a row of {n_cols} columns cannot be {info.name}: its blocks hold {info.block} columns")
    return info.row_meta + n_cols // info.block * info.block_bytes


def tensor_bytes(info: TypeInfo, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor of ``shape`` (ggml order, ne0 first) and type ``info``.

    Raises GGUFError, without naming the tensor, for a shape that the type or ggml cannot have.
    """
    if not 1 <= len(shape) <= 4:
        raise GGUFError(f"{len(shape)} dimensions; a tensor has 1 to 4")
    for i, n in enumerate(shape):
        if not 1 <= n <= INT64_MAX:
            raise GGUFError(f"ne{i} is {n}; a dimension is at least 1 and below 2^63")
    if prod(shape) > INT64_MAX:
        raise GGUFError(f"shape {'x'.join(map(str, shape))} has more than 2^63 elements")
    if shape[0] % info.block:
        raise GGUFError(f"ne0 is {shape[0]}, no multiple of the {info.block} columns in a block of {info.name}")
    rows = shape[1] if len(shape) > 1 else 1
    if rows % info.interleave:
        raise GGUFError(f"ne1 is {rows}, no multiple of the {info.interleave} rows that {info.name} interleaves")
    if info.name == "i2_s":  # 2 bits a weight and one scale with padding at the end, whatever its type traits say
        return prod(shape) // 4 + 32
    total = prod(shape[1:]) * (info.row_meta + shape[0] // info.block * info.block_bytes)
    if total > INT64_MAX:
        raise GGUFError(f"shape {'x'.join(map(str, shape))} has more than 2^63 bytes as {info.name}")
    return total
