// iq2_s_r4: the layout is described in iq2_s_r4.py.
#include "grids.cuh"
#include "tables/grid_iq2_s.cuh"
#include "sizes/iq2_s_r4.cuh"

struct iq2_s_r4 : Quant, Sizes_iq2_s_r4 {
    static constexpr bool halves = true;
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq2_s_r4>(w, b);
        int p = b & 7;
        u32 low = load32<8>(g + 8 + p * 16 + r * 4), signs = load32<8>(g + 168 + p * 16 + r * 4);
        u32 high = g[136 + p * 4 + r], scales = g[296 + p * 4 + r];
        for (int i = 0; i < 4; i++) {
            u32 index = (low >> 8 * i & 255) | (high >> 2 * i & 3) << 8;
            point8(o.q + 2 * i, __ldg(grid_iq2_s + index), signs >> 8 * i & 255);
        }
        float d = load_half<2>(g + 2 * r);
        o.s0 = odd(d, scales & 15) * 0.125f, o.s1 = odd(d, scales >> 4) * 0.125f;
    }
};

KERNELS(iq2_s_r4)
