// iq5_ks: the layout is described in iq5_ks.py.
#include "iqk.cuh"
#include "tables/iq5.cuh"
#include "sizes/iq5_ks.cuh"

struct iq5_ks : Quant, Sizes_iq5_ks {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq5_ks>(w, b);
        int p = b & 7;
        u32 s = g[p];
        pair_nibbles<4>(o.q, g + 8, p);
        add_bits<4>(o.q, g + 136, p, 1, 4);
        table_bytes<Biased_iq5>(o.q);
        shift_values(o.q, (s & 1) * SHIFT5, (s & 1) * SHIFT5);
        one_scale(o, load_float<4>(w) * (float)((int)(s & 254) - 127));
    }
};

KERNELS(iq5_ks)
