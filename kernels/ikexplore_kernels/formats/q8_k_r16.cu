// q8_k_r16: the layout is described in q8_k_r16.py.
#include "formats.cuh"
#include "sizes/q8_k_r16.cuh"

struct q8_k_r16 : Quant, Sizes_q8_k_r16 {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<q8_k_r16>(w, b);
        int p = b & 7;
        for (int j = 0; j < 8; j++) o.q[j] = load32<16>(g + 32 + (8 * p + j) * 64 + r * 4) ^ 0x80808080u;
        one_scale(o, load_half<2>(g + 2 * r));
    }
};

KERNELS(q8_k_r16)
