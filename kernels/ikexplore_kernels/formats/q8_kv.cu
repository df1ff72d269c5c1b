// q8_kv: the layout is described in q8_kv.py.
#include "formats.cuh"
#include "sizes/q8_kv.cuh"

struct q8_kv : Quant, Sizes_q8_kv {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<q8_kv>(w, b);
        load_words<8, 8>(g, o.q);
        one_scale(o, load_float<4>(w));
    }
};

KERNELS(q8_kv)
