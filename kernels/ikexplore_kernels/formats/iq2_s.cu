// iq2_s: the layout is described in iq2_s.py.
#include "grids.cuh"
#include "tables/grid_iq2_s.cuh"
#include "sizes/iq2_s.cuh"

struct iq2_s : Quant, Sizes_iq2_s {
    static constexpr bool halves = true;
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq2_s>(w, b);
        int p = b & 7;
        u32 low = load32<2>(g + 2 + 4 * p), signs = load32<2>(g + 34 + 4 * p), high = g[66 + p];
        for (int i = 0; i < 4; i++) {
            u32 index = (low >> 8 * i & 255) | (high >> 2 * i & 3) << 8;
            point8(o.q + 2 * i, __ldg(grid_iq2_s + index), signs >> 8 * i & 255);
        }
        float d = load_half<2>(g);
        o.s0 = odd(d, g[74 + p] & 15) * 0.125f, o.s1 = odd(d, g[74 + p] >> 4) * 0.125f;
    }
};

KERNELS(iq2_s)
