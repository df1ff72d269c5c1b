// q6_0: the layout is described in q6_0.py.
#include "formats.cuh"
#include "sizes/q6_0.cuh"

struct q6_0 : Quant, Sizes_q6_0 {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<q6_0>(w, b);
        u32 t[4], high[2];
        load_words<2, 2>(g + 2, high);
        load_words<2, 4>(g + 10, t);
        nibbles(o.q, t);
        for (int j = 0; j < 8; j++) o.q[j] |= (high[j & 1] >> ((j >> 1 & 1) * 4 + (j >> 2) * 2) & 0x03030303u) << 4;
        all_minus(o.q, 32);
        one_scale(o, load_half<2>(g));
    }
};

KERNELS(q6_0)
