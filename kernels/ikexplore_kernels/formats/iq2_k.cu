// iq2_k: the layout is described in iq2_k.py.
#include "iqk.cuh"
#include "tables/iq2.cuh"
#include "sizes/iq2_k.cuh"

struct iq2_k : Quant, Sizes_iq2_k {
    static constexpr bool halves = true;
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq2_k>(w, b);
        int p = b & 7;
        two_bits<4>(o.q, g + 12, p);
        table_bytes<Biased_iq2>(o.q);
        u32 tables = load16<2>(g + 2) >> 2 * p;
        shift_values(o.q, (tables & 1) * SHIFT2, (tables >> 1 & 1) * SHIFT2);
        u32 scales = g[4 + p];
        two_scales(o, load_half<4>(g), (int)(scales & 15) - 8, (int)(scales >> 4) - 8);
    }
};

KERNELS(iq2_k)
