// q5_k: the layout is described in q5_k.py.
#include "six_bits.cuh"
#include "sizes/q5_k.cuh"

struct q5_k : Quant, Sizes_q5_k {
    static constexpr bool has_min = true;
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<q5_k>(w, b);
        int p = b & 7;
        bits_of<16>(o.q, g + 48 + (p >> 1) * 32, (p & 1) * 4, 15);
        add_bits<16>(o.q, g + 16, p, 1, 4);
        six_bits(o, g, p);
    }
};

KERNELS(q5_k)
