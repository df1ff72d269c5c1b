// q8_0: the layout is described in q8_0.py.
#include "formats.cuh"
#include "sizes/q8_0.cuh"

struct q8_0 : Quant, Sizes_q8_0 {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<q8_0>(w, b);
        load_words<2, 8>(g + 2, o.q);
        one_scale(o, load_half<2>(g));
    }
};

KERNELS(q8_0)
