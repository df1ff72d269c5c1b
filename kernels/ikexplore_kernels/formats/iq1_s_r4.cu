// iq1_s_r4: the layout is described in iq1_s_r4.py.
#include "grids.cuh"
#include "tables/grid_iq1.cuh"
#include "sizes/iq1_s_r4.cuh"

struct iq1_s_r4 : Quant, Sizes_iq1_s_r4 {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq1_s_r4>(w, b);
        u32 high = load16<2>(g + 16 + 2 * r);
        for (int i = 0; i < 4; i++) {
            u32 index = g[4 * i + r] | (high >> 3 * i & 7) << 8;
            point_iq1(o.q + 2 * i, __ldg(grid_iq1 + index), high >> 15);
        }
        one_scale(o, odd(load_half<2>(w + 2 * r), (int)(high >> 12 & 7)) * 0.125f);
    }
};

KERNELS(iq1_s_r4)
