// iq2_xxs: the layout is described in iq2_xxs.py.
#include "grids.cuh"
#include "tables/grid_iq2_xxs.cuh"
#include "sizes/iq2_xxs.cuh"

struct iq2_xxs : Quant, Sizes_iq2_xxs {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq2_xxs>(w, b);
        int p = b & 7;
        u32 t[2];
        load_words<2, 2>(g + 2 + p * 8, t);
        for (int i = 0; i < 4; i++) {
            point8(o.q + 2 * i, __ldg(grid_iq2_xxs + (t[0] >> 8 * i & 255)), even_signs(t[1] >> 7 * i & 127));
        }
        one_scale(o, odd(load_half<2>(g), (int)(t[1] >> 28)) * 0.125f);
    }
};

KERNELS(iq2_xxs)
