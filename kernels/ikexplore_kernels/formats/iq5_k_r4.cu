// iq5_k_r4: the layout is described in iq5_k_r4.py.
#include "iqk.cuh"
#include "tables/iq5.cuh"
#include "sizes/iq5_k_r4.cuh"

struct iq5_k_r4 : Quant, Sizes_iq5_k_r4 {
    static constexpr bool halves = true;
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq5_k_r4>(w, b);
        int p = b & 7;
        rows4(o.q, g + 64 + p * 64, r);
        rows4_fifths(o.q, g + 576, r, p);
        table_bytes<Biased_iq5>(o.q);
        u32 first, second;
        rows4_tables(g, r, p, first, second);
        shift_values(o.q, first * SHIFT5, second * SHIFT5);
        two_scales(o, load_half<2>(g + 2 * r), rows4_scale(g, r, 2 * p), rows4_scale(g, r, 2 * p + 1));
    }
};

KERNELS(iq5_k_r4)
