// iq3_xxs_r4: the layout is described in iq3_xxs_r4.py.
#include "grids.cuh"
#include "tables/grid_iq3_xxs.cuh"
#include "sizes/iq3_xxs_r4.cuh"

struct iq3_xxs_r4 : Quant, Sizes_iq3_xxs_r4 {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq3_xxs_r4>(w, b);
        int p = b & 7;
        u32 mixed = load32<8>(g + 8 + p * 16 + r * 4), t[2];
        load_words<8, 2>(g + 136 + p * 32 + r * 8, t);
        for (int j = 0; j < 8; j++) {
            u32 signs = changed_signs(mixed >> (8 * (j >> 1) + 1) & 127) >> (j & 1) * 4;
            o.q[j] = with_signs(__ldg(grid_iq3_xxs + (t[j >> 2] >> (j & 3) * 8 & 255)), spread(signs));
        }
        one_scale(o, odd(load_half<2>(g + 2 * r), low_bits(mixed)) * 0.25f);
    }
};

KERNELS(iq3_xxs_r4)
