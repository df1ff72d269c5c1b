// iq1_s: the layout is described in iq1_s.py.
#include "grids.cuh"
#include "tables/grid_iq1.cuh"
#include "sizes/iq1_s.cuh"

struct iq1_s : Quant, Sizes_iq1_s {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq1_s>(w, b);
        int p = b & 7;
        u32 low = load32<2>(g + 2 + 4 * p), high = load16<2>(g + 34 + 2 * p);
        for (int i = 0; i < 4; i++) {
            u32 index = (low >> 8 * i & 255) | (high >> 3 * i & 7) << 8;
            point_iq1(o.q + 2 * i, __ldg(grid_iq1 + index), high >> 15);
        }
        one_scale(o, odd(load_half<2>(g), (int)(high >> 12 & 7)) * 0.125f);
    }
};

KERNELS(iq1_s)
