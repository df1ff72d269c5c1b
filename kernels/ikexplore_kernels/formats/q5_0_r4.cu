// q5_0_r4: the layout is described in q5_0_r4.py.
#include "formats.cuh"
#include "sizes/q5_0_r4.cuh"

struct q5_0_r4 : Quant, Sizes_q5_0_r4 {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<q5_0_r4>(w, b);
        u32 high = load32<8>(g + 8 + r * 4);
        rows4(o.q, g + 24, r);
        for (int j = 0; j < 8; j++) o.q[j] |= (high >> ((j & 3) * 2 + (j >> 2)) & 0x01010101u) << 4;
        all_minus(o.q, 16);
        one_scale(o, load_half<2>(g + 2 * r));
    }
};

KERNELS(q5_0_r4)
