// iq4_ks: the layout is described in iq4_ks.py.
#include "iqk.cuh"
#include "tables/iq4.cuh"
#include "sizes/iq4_ks.cuh"

struct iq4_ks : Quant, Sizes_iq4_ks {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq4_ks>(w, b);
        int p = b & 7;
        u32 t[4], s = g[p];
        load_words<4, 4>(g + 8 + p * 16, t);
        table_nibbles<Biased_iq4>(o.q, t);
        shift_values(o.q, (s & 1) * SHIFT4, (s & 1) * SHIFT4);
        one_scale(o, load_float<4>(w) * (float)((int)(s & 254) - 127));
    }
};

KERNELS(iq4_ks)
