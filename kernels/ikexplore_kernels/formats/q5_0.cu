// q5_0: the layout is described in q5_0.py.
#include "formats.cuh"
#include "sizes/q5_0.cuh"

struct q5_0 : Quant, Sizes_q5_0 {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<q5_0>(w, b);
        u32 t[4], high = load32<2>(g + 2);
        load_words<2, 4>(g + 6, t);
        nibbles(o.q, t);
        for (int j = 0; j < 8; j++) o.q[j] |= spread(high >> 4 * j) << 4;
        all_minus(o.q, 16);
        one_scale(o, load_half<2>(g));
    }
};

KERNELS(q5_0)
