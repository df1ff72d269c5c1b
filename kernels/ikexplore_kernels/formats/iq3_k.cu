// iq3_k: the layout is described in iq3_k.py.
#include "iqk.cuh"
#include "tables/iq3.cuh"
#include "sizes/iq3_k.cuh"

struct iq3_k : Quant, Sizes_iq3_k {
    static constexpr bool halves = true;
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq3_k>(w, b);
        int p = b & 7;
        two_bits<2>(o.q, g + 14, p);
        add_bits<2>(o.q, g + 78, p, 1, 2);
        table_bytes<Biased_iq3>(o.q);
        u32 tables = load16<2>(g + 2) >> 2 * p, minus_signs = load16<2>(g + 4) >> 2 * p, scales = g[6 + p];
        shift_values(o.q, (tables & 1) * SHIFT3, (tables >> 1 & 1) * SHIFT3);
        int first = 2 * (scales & 15) + 1, second = 2 * (scales >> 4) + 1;
        two_scales(o, load_half<2>(g), minus_signs & 1 ? -first : first, minus_signs & 2 ? -second : second);
    }
};

KERNELS(iq3_k)
