// q4_0_r8: the layout is described in q4_0_r8.py.
#include "formats.cuh"
#include "sizes/q4_0_r8.cuh"

struct q4_0_r8 : Quant, Sizes_q4_0_r8 {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<q4_0_r8>(w, b);
        for (int j = 0; j < 4; j++) {
            u32 t = load32<16>(g + 16 + j * 32 + r * 4);
            o.q[j] = t & 0x0f0f0f0fu, o.q[j + 4] = t >> 4 & 0x0f0f0f0fu;
        }
        all_minus(o.q, 8);
        one_scale(o, load_half<2>(g + 2 * r));
    }
};

KERNELS(q4_0_r8)
