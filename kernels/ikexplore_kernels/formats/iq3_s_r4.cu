// iq3_s_r4: the layout is described in iq3_s_r4.py.
#include "grids.cuh"
#include "tables/grid_iq3_s.cuh"
#include "sizes/iq3_s_r4.cuh"

struct iq3_s_r4 : Quant, Sizes_iq3_s_r4 {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq3_s_r4>(w, b);
        int p = b & 7;
        u32 high = g[264 + p * 4 + r], signs = load32<8>(g + 296 + p * 16 + r * 4);
        for (int j = 0; j < 8; j++) {
            u32 index = g[8 + p * 32 + (j & 3) * 8 + (j >> 2) * 4 + r] | (high >> j & 1) << 8;
            o.q[j] = with_signs(__ldg(grid_iq3_s + index), signs >> j & 0x01010101u);
        }
        one_scale(o, odd(load_half<2>(g + 2 * r), g[424 + (p & 3) * 4 + r] >> (p >> 2) * 4 & 15));
    }
};

KERNELS(iq3_s_r4)
