// iq2_ks: the layout is described in iq2_ks.py.
#include "iqk.cuh"
#include "tables/iq2.cuh"
#include "sizes/iq2_ks.cuh"

struct iq2_ks : Quant, Sizes_iq2_ks {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq2_ks>(w, b);
        int p = b & 7;
        two_bits<2>(o.q, g + 6, p);
        table_bytes<Biased_iq2>(o.q);
        u32 table = g[0] >> p & 1;
        shift_values(o.q, table * SHIFT2, table * SHIFT2);
        int scale = nibble_at(g + 2, p) + 16 * (g[1] >> p & 1) - 16;
        one_scale(o, load_half<2>(w) * (float)scale);
    }
};

KERNELS(iq2_ks)
