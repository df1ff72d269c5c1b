// q4_0: the layout is described in q4_0.py.
#include "formats.cuh"
#include "sizes/q4_0.cuh"

struct q4_0 : Quant, Sizes_q4_0 {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<q4_0>(w, b);
        u32 t[4];
        load_words<2, 4>(g + 2, t);
        nibbles(o.q, t);
        all_minus(o.q, 8);
        one_scale(o, load_half<2>(g));
    }
};

KERNELS(q4_0)
