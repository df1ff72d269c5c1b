// iq3_xxs: the layout is described in iq3_xxs.py.
#include "grids.cuh"
#include "tables/grid_iq3_xxs.cuh"
#include "sizes/iq3_xxs.cuh"

struct iq3_xxs : Quant, Sizes_iq3_xxs {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq3_xxs>(w, b);
        int p = b & 7;
        u32 t[2], word = load32<2>(g + 66 + 4 * p);
        load_words<2, 2>(g + 2 + 8 * p, t);
        for (int j = 0; j < 8; j++) {
            u32 signs = even_signs(word >> 7 * (j >> 1) & 127) >> (j & 1) * 4;
            o.q[j] = with_signs(__ldg(grid_iq3_xxs + (t[j >> 2] >> (j & 3) * 8 & 255)), spread(signs));
        }
        one_scale(o, odd(load_half<2>(g), (int)(word >> 28)) * 0.25f);
    }
};

KERNELS(iq3_xxs)
