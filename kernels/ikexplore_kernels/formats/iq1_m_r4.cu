// iq1_m_r4: the layout is described in iq1_m_r4.py.
#include "grids.cuh"
#include "tables/grid_iq1.cuh"
#include "sizes/iq1_m_r4.cuh"

struct iq1_m_r4 : Quant, Sizes_iq1_m_r4 {
    static constexpr bool halves = true;
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq1_m_r4>(w, b);
        for (int i = 0; i < 4; i++) {
            u32 four = g[16 + (i >> 1) * 4 + r] >> (i & 1) * 4;
            point_iq1(o.q + 2 * i, __ldg(grid_iq1 + (g[4 * i + r] | (four & 7) << 8)), four >> 3 & 1);
        }
        float d = load_half<2>(w + 2 * r);
        u32 scales = g[24 + r];
        o.s0 = d * (float)(scales & 15) * 0.125f, o.s1 = d * (float)(scales >> 4) * 0.125f;
    }
};

KERNELS(iq1_m_r4)
