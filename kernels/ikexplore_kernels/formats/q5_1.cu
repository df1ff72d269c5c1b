// q5_1: the layout is described in q5_1.py.
#include "formats.cuh"
#include "sizes/q5_1.cuh"

struct q5_1 : Quant, Sizes_q5_1 {
    static constexpr bool has_min = true;
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<q5_1>(w, b);
        u32 t[4], high = load32<4>(g + 4);
        load_words<8, 4>(g + 8, t);
        nibbles(o.q, t);
        for (int j = 0; j < 8; j++) o.q[j] |= spread(high >> 4 * j) << 4;
        one_scale(o, load_half<4>(g));
        o.m0 = o.m1 = -load_half<2>(g + 2);
    }
};

KERNELS(q5_1)
