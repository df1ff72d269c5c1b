// iq4_k_r4: the layout is described in iq4_k_r4.py.
#include "iqk.cuh"
#include "tables/iq4.cuh"
#include "sizes/iq4_k_r4.cuh"

struct iq4_k_r4 : Quant, Sizes_iq4_k_r4 {
    static constexpr bool halves = true;
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq4_k_r4>(w, b);
        int p = b & 7;
        table_rows4<Biased_iq4>(o.q, g + 64 + p * 64, r);
        u32 first, second;
        rows4_tables(g, r, p, first, second);
        shift_values(o.q, first * SHIFT4, second * SHIFT4);
        two_scales(o, load_half<2>(g + 2 * r), rows4_scale(g, r, 2 * p), rows4_scale(g, r, 2 * p + 1));
    }
};

KERNELS(iq4_k_r4)
