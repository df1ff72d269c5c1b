// q3_k: the layout is described in q3_k.py.
#include "formats.cuh"
#include "sizes/q3_k.cuh"

struct q3_k : Quant, Sizes_q3_k {
    static constexpr bool halves = true;
    DEVICE static int scale(const u8* s, int k) {
        return ((s[k & 7] >> (k >> 3) * 4 & 15) | (s[8 + (k & 3)] >> (k >> 2) * 2 & 3) << 4) - 32;
    }
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<q3_k>(w, b);
        int p = b & 7;
        bits_of<2>(o.q, g + 32 + (p >> 2) * 32, (p & 3) * 2, 3);
        add_bits<2>(o.q, g, p, 1, 2);
        all_minus(o.q, 4);
        float d = load_half<2>(g + 108);
        o.s0 = d * (float)scale(g + 96, 2 * p), o.s1 = d * (float)scale(g + 96, 2 * p + 1);
    }
};

KERNELS(q3_k)
