// q1_0_g128: the layout is described in q1_0_g128.py.
#include "formats.cuh"
#include "sizes/q1_0_g128.cuh"

struct q1_0_g128 : Quant, Sizes_q1_0_g128 {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<q1_0_g128>(w, b);
        u32 signs = load32<2>(g + 2 + (b & 3) * 4);
        for (int j = 0; j < 8; j++) o.q[j] = minus(spread(signs >> 4 * j) << 1, 1);
        one_scale(o, load_half<2>(g));
    }
};

KERNELS(q1_0_g128)
