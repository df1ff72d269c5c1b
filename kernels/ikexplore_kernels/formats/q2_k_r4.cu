// q2_k_r4: the layout is described in q2_k_r4.py.
#include "iqk.cuh"
#include "sizes/q2_k_r4.cuh"

struct q2_k_r4 : Quant, Sizes_q2_k_r4 {
    static constexpr bool halves = true;
    static constexpr bool has_min = true;
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<q2_k_r4>(w, b);
        int p = b & 7;
        rows4_twos(o.q, g + 80, r, p);
        u32 first = g[16 + 8 * p + r], second = g[20 + 8 * p + r];
        float d = load_half<2>(g + 2 * r), least = load_half<2>(g + 8 + 2 * r);
        o.s0 = d * (float)(first & 15), o.m0 = least * (float)(first >> 4);
        o.s1 = d * (float)(second & 15), o.m1 = least * (float)(second >> 4);
    }
};

KERNELS(q2_k_r4)
