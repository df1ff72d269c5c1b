// q8_kv_r8: the layout is described in q8_kv_r8.py.
#include "formats.cuh"
#include "sizes/q8_kv_r8.cuh"

struct q8_kv_r8 : Quant, Sizes_q8_kv_r8 {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<q8_kv_r8>(w, b);
        for (int j = 0; j < 8; j++) o.q[j] = load32<16>(g + j * 32 + r * 4);
        one_scale(o, load_float<4>(w + 4 * r));
    }
};

KERNELS(q8_kv_r8)
