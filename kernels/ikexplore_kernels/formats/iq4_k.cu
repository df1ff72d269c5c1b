// iq4_k: the layout is described in iq4_k.py.
#include "iqk.cuh"
#include "tables/iq4.cuh"
#include "sizes/iq4_k.cuh"

struct iq4_k : Quant, Sizes_iq4_k {
    static constexpr bool halves = true;
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq4_k>(w, b);
        int p = b & 7;
        u32 t[4];
        load_words<16, 4>(g + 16 + p * 16, t);
        table_nibbles<Biased_iq4>(o.q, t);
        u32 tables = load16<2>(g + 2) >> 2 * p;
        shift_values(o.q, (tables & 1) * SHIFT4, (tables >> 1 & 1) * SHIFT4);
        two_scales(o, load_half<4>(g), iqk_scale(g, 2 * p), iqk_scale(g, 2 * p + 1));
    }
};

KERNELS(iq4_k)
