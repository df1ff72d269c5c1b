// iq2_kt: the layout is described in iq2_kt.py.
#include "trellis.cuh"
#include "tables/iq4.cuh"
#include "tables/trellis.cuh"
#include "sizes/iq2_kt.cuh"

struct iq2_kt : Quant, Sizes_iq2_kt {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq2_kt>(w, b);
        int p = b & 7;
        u32 t[2];
        load_words<4, 2>(g + 4 + 8 * p, t);
        for (int i = 0; i < 4; i++) {
            u32 x = (t[i >> 1] >> (i & 1) * 16 & 0xffff) + 4096;
            o.q[2 * i] = four_values(x, false);
            o.q[2 * i + 1] = four_values(x, false);
        }
        float d = load_float<4>(w);
        if (product) d *= IQ2_KT_FACTOR;
        one_scale(o, d * (float)table_at<Table_iq4>((int)nibble_in(g, p, 4)));
    }
};

KERNELS(iq2_kt)
