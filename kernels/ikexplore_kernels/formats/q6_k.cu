// q6_k: the layout is described in q6_k.py.
#include "formats.cuh"
#include "sizes/q6_k.cuh"

struct q6_k : Quant, Sizes_q6_k {
    static constexpr bool halves = true;
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<q6_k>(w, b);
        int h = b >> 2 & 1, p = b & 3;
        bits_of<2>(o.q, g + h * 64 + (p & 1) * 32, (p >> 1) * 4, 15);
        add_bits<2>(o.q, g + 128 + h * 32, p * 2, 3, 4);
        all_minus(o.q, 32);
        u32 scales = load16<2>(g + 192 + (b & 7) * 2);
        float d = load_half<2>(g + 208);
        o.s0 = d * (float)(i8)(scales & 255), o.s1 = d * (float)(i8)(scales >> 8);
    }
};

KERNELS(q6_k)
