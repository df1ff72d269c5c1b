// iq3_k_r4: the layout is described in iq3_k_r4.py.
#include "iqk.cuh"
#include "tables/iq3.cuh"
#include "sizes/iq3_k_r4.cuh"

struct iq3_k_r4 : Quant, Sizes_iq3_k_r4 {
    static constexpr bool halves = true;
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq3_k_r4>(w, b);
        int p = b & 7;
        rows4_twos(o.q, g + 56, r, p);
        u32 high = load32<8>(g + 312 + p * 16 + r * 4);
        for (int j = 0; j < 8; j++) o.q[j] |= (high >> j & 0x01010101u) << 2;
        table_bytes<Biased_iq3>(o.q);
        u32 first, second;
        rows4_tables(g, r, p, first, second);
        shift_values(o.q, first * SHIFT3, second * SHIFT3);
        int s0 = 2 * rows4_nibble(g + 24, r, 2 * p) + 1, s1 = 2 * rows4_nibble(g + 24, r, 2 * p + 1) + 1;
        two_scales(o, load_half<2>(g + 2 * r), g[16 + r] >> p & 1 ? -s0 : s0, g[20 + r] >> p & 1 ? -s1 : s1);
    }
};

KERNELS(iq3_k_r4)
