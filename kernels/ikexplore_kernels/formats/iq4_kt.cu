// iq4_kt: the layout is described in iq4_kt.py.
#include "trellis.cuh"
#include "sizes/iq4_kt.cuh"

struct iq4_kt : Quant, Sizes_iq4_kt {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq4_kt>(w, b);
        int p = b & 7;
        u32 head = load32<4>(g + 4 * p), t[2];
        load_words<4, 2>(g + 32 + 8 * p, t);
        for (int j = 0; j < 8; j++) {
            u32 x = (t[j >> 2] >> (j & 3) * 8 & 255) + (nibble_in(g + 96, 8 * p + j, 32) << 8);
            x += (head >> (8 + 3 * j) & 7) * 4096 + (head & 1 ? 36864 : 4096);
            o.q[j] = four_values(x, false);
        }
        one_scale(o, load_float<4>(w) * (float)((int)(head >> 1 & 127) - 64));
    }
};

KERNELS(iq4_kt)
