// q6_0_r4: the layout is described in q6_0_r4.py.
#include "formats.cuh"
#include "sizes/q6_0_r4.cuh"

struct q6_0_r4 : Quant, Sizes_q6_0_r4 {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<q6_0_r4>(w, b);
        rows4(o.q, g + 40, r);
        for (int j = 0; j < 8; j++) {
            u32 high = load32<8>(g + 8 + (j >> 2) * 16 + r * 4) >> (j & 3) * 2 & 0x03030303u;
            o.q[j] |= high << 4;
        }
        all_minus(o.q, 32);
        one_scale(o, load_half<2>(g + 2 * r));
    }
};

KERNELS(q6_0_r4)
