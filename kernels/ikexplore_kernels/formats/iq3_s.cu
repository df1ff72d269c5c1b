// iq3_s: the layout is described in iq3_s.py.
#include "grids.cuh"
#include "tables/grid_iq3_s.cuh"
#include "sizes/iq3_s.cuh"

struct iq3_s : Quant, Sizes_iq3_s {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq3_s>(w, b);
        int p = b & 7;
        u32 t[2], high = g[66 + p], signs = load32<2>(g + 74 + 4 * p);
        load_words<2, 2>(g + 2 + 8 * p, t);
        for (int j = 0; j < 8; j++) {
            u32 index = (t[j >> 2] >> (j & 3) * 8 & 255) | (high >> j & 1) << 8;
            o.q[j] = with_signs(__ldg(grid_iq3_s + index), spread(signs >> 4 * j));
        }
        one_scale(o, odd(load_half<2>(g), nibble_at(g + 106, p)));
    }
};

KERNELS(iq3_s)
