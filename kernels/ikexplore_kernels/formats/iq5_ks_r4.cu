// iq5_ks_r4: the layout is described in iq5_ks_r4.py.
#include "iqk.cuh"
#include "tables/iq5.cuh"
#include "sizes/iq5_ks_r4.cuh"

struct iq5_ks_r4 : Quant, Sizes_iq5_ks_r4 {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq5_ks_r4>(w, b);
        int p = b & 7;
        u32 s = g[p * 4 + r];
        rows4(o.q, g + 32 + p * 64, r);
        rows4_fifths(o.q, g + 544, r, p);
        table_bytes<Biased_iq5>(o.q);
        shift_values(o.q, (s & 1) * SHIFT5, (s & 1) * SHIFT5);
        one_scale(o, load_float<4>(w + 4 * r) * (float)((int)(s & 254) - 127));
    }
};

KERNELS(iq5_ks_r4)
