// iq2_xs: the layout is described in iq2_xs.py.
#include "grids.cuh"
#include "tables/grid_iq2_xs.cuh"
#include "sizes/iq2_xs.cuh"

struct iq2_xs : Quant, Sizes_iq2_xs {
    static constexpr bool halves = true;
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq2_xs>(w, b);
        int p = b & 7;
        for (int i = 0; i < 4; i++) {
            u32 q = load16<2>(g + 2 + p * 8 + 2 * i);
            point8(o.q + 2 * i, __ldg(grid_iq2_xs + (q & 511)), even_signs(q >> 9));
        }
        float d = load_half<2>(g);
        o.s0 = odd(d, g[66 + p] & 15) * 0.125f, o.s1 = odd(d, g[66 + p] >> 4) * 0.125f;
    }
};

KERNELS(iq2_xs)
