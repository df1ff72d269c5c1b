// iq3_ks: the layout is described in iq3_ks.py.
#include "iqk.cuh"
#include "tables/iq3.cuh"
#include "sizes/iq3_ks.cuh"

struct iq3_ks : Quant, Sizes_iq3_ks {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq3_ks>(w, b);
        int p = b & 7;
        two_bits<2>(o.q, g + 6, p);
        add_bits<2>(o.q, g + 70, p, 1, 2);
        table_bytes<Biased_iq3>(o.q);
        u32 table = g[1] >> p & 1;
        shift_values(o.q, table * SHIFT3, table * SHIFT3);
        int scale = (g[2 + (p & 3)] >> (p >> 2) * 4 & 15) + 16 * (g[0] >> p & 1) - 16;
        one_scale(o, load_half<2>(w) * (float)scale);
    }
};

KERNELS(iq3_ks)
