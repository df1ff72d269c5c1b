// iq2_k_r4: the layout is described in iq2_k_r4.py.
#include "iqk.cuh"
#include "tables/iq2.cuh"
#include "sizes/iq2_k_r4.cuh"

struct iq2_k_r4 : Quant, Sizes_iq2_k_r4 {
    static constexpr bool halves = true;
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq2_k_r4>(w, b);
        int p = b & 7;
        rows4_twos(o.q, g + 48, r, p);
        table_bytes<Biased_iq2>(o.q);
        u32 first, second;
        rows4_tables(g, r, p, first, second);
        shift_values(o.q, first * SHIFT2, second * SHIFT2);
        int low = rows4_nibble(g + 16, r, 2 * p), high = rows4_nibble(g + 16, r, 2 * p + 1);
        two_scales(o, load_half<2>(g + 2 * r), low - 8, high - 8);
    }
};

KERNELS(iq2_k_r4)
