// iq2_xs_r4: the layout is described in iq2_xs_r4.py.
#include "grids.cuh"
#include "tables/grid_iq2_xs.cuh"
#include "sizes/iq2_xs_r4.cuh"

struct iq2_xs_r4 : Quant, Sizes_iq2_xs_r4 {
    static constexpr bool halves = true;
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq2_xs_r4>(w, b);
        int p = b & 7;
        u32 t[2], scales = g[264 + p * 4 + r];
        load_words<8, 2>(g + 8 + p * 32 + r * 8, t);
        for (int i = 0; i < 4; i++) {
            u32 q = t[i >> 1] >> (i & 1) * 16 & 0xffff;
            point8(o.q + 2 * i, __ldg(grid_iq2_xs + (q & 511)), changed_signs(q >> 9));
        }
        float d = load_half<2>(g + 2 * r);
        o.s0 = odd(d, scales & 15) * 0.125f, o.s1 = odd(d, scales >> 4) * 0.125f;
    }
};

KERNELS(iq2_xs_r4)
