// q6_k_r4: the layout is described in q6_k_r4.py.
#include "formats.cuh"
#include "sizes/q6_k_r4.cuh"

struct q6_k_r4 : Quant, Sizes_q6_k_r4 {
    static constexpr bool halves = true;
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<q6_k_r4>(w, b);
        int p = b & 7;
        rows4(o.q, g + 328 + p * 64, r);
        for (int j = 0; j < 8; j++) {
            int at = (j & 1) * 4 + (j & 2);
            o.q[j] |= (load32<8>(g + 72 + p * 32 + (j >> 2) * 16 + r * 4) >> at & 0x03030303u) << 4;
        }
        all_minus(o.q, 32);
        float d = load_half<2>(g + 2 * r);
        o.s0 = d * (float)(i8)g[8 + 8 * p + r], o.s1 = d * (float)(i8)g[12 + 8 * p + r];
    }
};

KERNELS(q6_k_r4)
