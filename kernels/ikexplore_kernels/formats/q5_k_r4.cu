// q5_k_r4: the layout is described in q5_k_r4.py.
#include "six_bits.cuh"
#include "sizes/q5_k_r4.cuh"

struct q5_k_r4 : Quant, Sizes_q5_k_r4 {
    static constexpr bool has_min = true;
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<q5_k_r4>(w, b);
        int p = b & 7;
        rows4(o.q, g + 192 + p * 64, r);
        u32 high = load32<16>(g + 64 + p * 16 + r * 4);
        for (int j = 0; j < 8; j++) {
            int at = (j & 4) | (j & 1) << 1 | (j >> 1 & 1);
            o.q[j] |= (high >> at & 0x01010101u) << 4;
        }
        six_bits_rows4(o, g, r, p);
    }
};

KERNELS(q5_k_r4)
