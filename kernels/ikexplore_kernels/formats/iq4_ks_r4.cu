// iq4_ks_r4: the layout is described in iq4_ks_r4.py.
#include "iqk.cuh"
#include "tables/iq4.cuh"
#include "sizes/iq4_ks_r4.cuh"

struct iq4_ks_r4 : Quant, Sizes_iq4_ks_r4 {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq4_ks_r4>(w, b);
        int p = b & 7;
        u32 s = g[p * 4 + r];
        table_rows4<Biased_iq4>(o.q, g + 32 + p * 64, r);
        shift_values(o.q, (s & 1) * SHIFT4, (s & 1) * SHIFT4);
        one_scale(o, load_float<4>(w + 4 * r) * (float)((int)(s & 254) - 127));
    }
};

KERNELS(iq4_ks_r4)
