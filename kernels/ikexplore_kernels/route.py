"""Which expert works on which token: from the router's choice to tiles of columns, one list per expert."""

from .abi import arg, fill_f32, fill_i64, ints, longs


def route(a, b, record, chunk, chunks, thread):
    """Op (one chunk): sort (token, slot) pairs by expert and write down the columns of each expert's tiles.

    Arguments: 0 chosen experts (int32, token after token), 1 bytes from token to token, 2 slots per token, 3 tokens,
    4 experts, 5 width of a tile, 6 activations, 7 bytes from token to token, 8 from slot to slot (0: shared by the slots),
    9 results, 10 and 11 likewise, 12 table int64 [experts + 1] of first tiles (written), 13 columns' sources and
    14 columns' results (int64 [tiles, width], written, 0 is padding), 15 scratch int64 [experts], 16 values of a result.
    An expert of -1 is left out: its result is zeros.
    """
    stride, slots, tokens, experts, width = arg(record, 1), arg(record, 2), arg(record, 3), arg(record, 4), arg(record, 5)
    table, fill = longs(arg(record, 12), experts + 1), longs(arg(record, 15), experts)
    fill_i64(arg(record, 15), experts, 0)
    for t in range(tokens):
        chosen = ints(arg(record, 0) + t * stride, slots)
        for s in range(slots):
            if chosen[s] >= 0:
                fill[chosen[s]] += 1
    table[0] = 0
    for e in range(experts):
        table[e + 1] = table[e] + (fill[e] + width - 1) // width
        fill[e] = table[e] * width
    n = table[experts] * width
    sources, results = longs(arg(record, 13), n), longs(arg(record, 14), n)
    fill_i64(arg(record, 13), n, 0)
    fill_i64(arg(record, 14), n, 0)
    for t in range(tokens):
        chosen = ints(arg(record, 0) + t * stride, slots)
        for s in range(slots):
            result = arg(record, 9) + t * arg(record, 10) + s * arg(record, 11)
            if chosen[s] < 0:
                fill_f32(result, arg(record, 16), 0)
                continue
            at = fill[chosen[s]]
            fill[chosen[s]] = at + 1
            sources[at] = arg(record, 6) + t * arg(record, 7) + s * arg(record, 8)
            results[at] = result


def most_tiles(tokens: int, slots: int, experts: int, width: int) -> int:
    """The largest number of tiles that any choice of experts can give."""
    pairs = tokens * slots
    busy = min(experts, pairs)
    return busy + (pairs - busy) // width
