// q2_k: the layout is described in q2_k.py.
#include "formats.cuh"
#include "sizes/q2_k.cuh"

struct q2_k : Quant, Sizes_q2_k {
    static constexpr bool halves = true;
    static constexpr bool has_min = true;
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<q2_k>(w, b);
        int p = b & 7;
        bits_of<4>(o.q, g + 16 + (p >> 2) * 32, (p & 3) * 2, 3);
        u32 scales = load16<2>(g + 2 * p);
        float d = load_half<4>(g + 80), least = load_half<2>(g + 82);
        o.s0 = d * (float)(scales & 15), o.m0 = least * (float)(scales >> 4 & 15);
        o.s1 = d * (float)(scales >> 8 & 15), o.m1 = least * (float)(scales >> 12);
    }
};

KERNELS(q2_k)
