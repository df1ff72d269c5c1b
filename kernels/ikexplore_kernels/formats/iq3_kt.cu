// iq3_kt: the layout is described in iq3_kt.py.
#include "trellis.cuh"
#include "tables/trellis.cuh"
#include "sizes/iq3_kt.cuh"

struct iq3_kt : Quant, Sizes_iq3_kt {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq3_kt>(w, b);
        int p = b & 7;
        u32 t[2], signs[8];
        load_words<4, 2>(g + 4 + 8 * p, t);
        load_words<4, 8>(g + 68, signs);
        for (int i = 0; i < 4; i++) {
            u32 x = (t[i >> 1] >> (i & 1) * 16 & 0xffff) + 4096;
            for (int j = 2 * i; j < 2 * i + 2; j++) {
                u32 below = mask_of(signs[j] >> p & 0x01010101u);
                o.q[j] = __vsub4(four_values(x, true) ^ below, below);  // magnitudes may be 0
            }
        }
        float d = load_float<4>(w);
        if (product) d *= IQ3_KT_FACTOR;
        one_scale(o, d * (float)nibble_in(g, p, 4));
    }
};

KERNELS(iq3_kt)
