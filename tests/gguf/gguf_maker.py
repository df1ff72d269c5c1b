"""GGUF files made byte by byte, so that tests can break them anywhere."""

import struct

STRING, ARRAY = 8, 9
CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}


def string(text):
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def value(kind, item):
    """A value with its type in front; an array is (ARRAY, (element type, items))."""
    if kind == STRING:
        return struct.pack("<I", kind) + string(item)
    if kind == ARRAY:
        return struct.pack("<I", kind) + array(*item)
    return struct.pack("<I" + CODES[kind], kind, item)


def array(sub, items):
    head = struct.pack("<IQ", sub, len(items))
    if sub == STRING:
        return head + b"".join(map(string, items))
    if sub == ARRAY:
        return head + b"".join(array(*i) for i in items)
    return head + struct.pack(f"<{len(items)}{CODES[sub]}", *items)


def entry(name, shape, type_id, offset):
    return string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, type_id, offset)


def build(keys=(), entries=(), data=b"", version=3, alignment=32, n_tensors=None, n_keys=None, magic=b"GGUF"):
    """keys: (name, type, item); entries: (name, shape, type id, offset). Counts can be told wrongly."""
    keys, entries = list(keys), list(entries)
    head = magic + struct.pack(
        "<IQQ",
        version,
        len(entries) if n_tensors is None else n_tensors,
        len(keys) if n_keys is None else n_keys,
    )
    head += b"".join(string(k) + value(kind, item) for k, kind, item in keys)
    head += b"".join(entry(*e) for e in entries)
    if entries:
        head += b"\0" * (-len(head) % alignment)
    return head + data


KEYS = [
    ("general.architecture", STRING, "llama"),
    ("a.u8", 0, 200),
    ("a.i8", 1, -3),
    ("a.u16", 2, 60000),
    ("a.i16", 3, -300),
    ("a.u32", 4, 2**32 - 1),
    ("a.i32", 5, -(2**31)),
    ("a.f32", 6, 0.5),
    ("a.bool", 7, 1),
    ("a.u64", 10, 2**64 - 1),
    ("a.i64", 11, -(2**63)),
    ("a.f64", 12, 0.1),
    ("a.text", STRING, "naïve"),
    ("a.tokens", ARRAY, (STRING, ["", "a", "x" * 300, "日本", "\0nul"])),
    ("a.numbers", ARRAY, (5, [1, -2, 3])),
    ("a.bools", ARRAY, (7, [1, 0])),
    ("a.none", ARRAY, (6, [])),
    ("a.nested", ARRAY, (ARRAY, [(4, [1, 2]), (STRING, ["q"])])),
]
ENTRIES = [
    ("token_embd.weight", (32, 2), 0, 0),
    ("blk.0.attn_q.weight", (256, 4), 144, 256),  # iq4_ks
    ("blk.0.ffn_up.weight", (32, 8), 208, 832),  # q8_0_r8
    ("again.weight", (8,), 0, 0),  # the same bytes under two names
]
DATA = bytes(range(256)) * 6


def small():
    """A valid file with every value type, an ik type, an interleaved type and a shared offset."""
    return build(KEYS, ENTRIES, DATA[: 832 + 272])
