// q3_k_r4: the layout is described in q3_k_r4.py.
#include "iqk.cuh"
#include "sizes/q3_k_r4.cuh"

struct q3_k_r4 : Quant, Sizes_q3_k_r4 {
    static constexpr bool halves = true;
    DEVICE static int scale(const u8* g, int r, int k) {
        return (rows4_nibble(g + 24, r, k) | (g[8 + (k & 3) * 4 + r] >> (k >> 2) * 2 & 3) << 4) - 32;
    }
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<q3_k_r4>(w, b);
        int p = b & 7;
        rows4_twos(o.q, g + 184, r, p);
        u32 high = load32<8>(g + 56 + p * 16 + r * 4);
        for (int j = 0; j < 8; j++) o.q[j] |= (high >> j & 0x01010101u) << 2;
        all_minus(o.q, 4);
        two_scales(o, load_half<2>(g + 2 * r), scale(g, r, 2 * p), scale(g, r, 2 * p + 1));
    }
};

KERNELS(q3_k_r4)
