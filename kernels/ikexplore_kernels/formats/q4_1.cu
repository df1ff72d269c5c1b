// q4_1: the layout is described in q4_1.py.
#include "formats.cuh"
#include "sizes/q4_1.cuh"

struct q4_1 : Quant, Sizes_q4_1 {
    static constexpr bool has_min = true;
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<q4_1>(w, b);
        u32 t[4];
        load_words<4, 4>(g + 4, t);
        nibbles(o.q, t);
        one_scale(o, load_half<4>(g));
        o.m0 = o.m1 = -load_half<2>(g + 2);
    }
};

KERNELS(q4_1)
