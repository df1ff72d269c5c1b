// iq5_k: the layout is described in iq5_k.py.
#include "iqk.cuh"
#include "tables/iq5.cuh"
#include "sizes/iq5_k.cuh"

struct iq5_k : Quant, Sizes_iq5_k {
    static constexpr bool halves = true;
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq5_k>(w, b);
        int p = b & 7;
        pair_nibbles<16>(o.q, g + 16, p);
        add_bits<16>(o.q, g + 144, p, 1, 4);
        table_bytes<Biased_iq5>(o.q);
        u32 tables = load16<2>(g + 2) >> 2 * p;
        shift_values(o.q, (tables & 1) * SHIFT5, (tables >> 1 & 1) * SHIFT5);
        two_scales(o, load_half<4>(g), iqk_scale(g, 2 * p), iqk_scale(g, 2 * p + 1));
    }
};

KERNELS(iq5_k)
