// iq2_xxs_r4: the layout is described in iq2_xxs_r4.py.
#include "grids.cuh"
#include "tables/grid_iq2_xxs.cuh"
#include "sizes/iq2_xxs_r4.cuh"

struct iq2_xxs_r4 : Quant, Sizes_iq2_xxs_r4 {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq2_xxs_r4>(w, b);
        int p = b & 7;
        u32 mixed = load32<8>(g + 8 + p * 16 + r * 4), low = load32<8>(g + 136 + p * 16 + r * 4);
        for (int i = 0; i < 4; i++) {
            point8(o.q + 2 * i, __ldg(grid_iq2_xxs + (low >> 8 * i & 255)), changed_signs(mixed >> (8 * i + 1) & 127));
        }
        one_scale(o, odd(load_half<2>(g + 2 * r), low_bits(mixed)) * 0.125f);
    }
};

KERNELS(iq2_xxs_r4)
