// q4_k_r4: the layout is described in q4_k_r4.py.
#include "six_bits.cuh"
#include "sizes/q4_k_r4.cuh"

struct q4_k_r4 : Quant, Sizes_q4_k_r4 {
    static constexpr bool has_min = true;
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<q4_k_r4>(w, b);
        int p = b & 7;
        rows4(o.q, g + 64 + p * 64, r);
        six_bits_rows4(o, g, r, p);
    }
};

KERNELS(q4_k_r4)
