// iq4_xs: the layout is described in iq4_xs.py.
#include "formats.cuh"
#include "tables/iq4.cuh"
#include "sizes/iq4_xs.cuh"

struct iq4_xs : Quant, Sizes_iq4_xs {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq4_xs>(w, b);
        int p = b & 7;
        u32 t[4];
        load_words<8, 4>(g + 8 + p * 16, t);
        table_nibbles<Table_iq4>(o.q, t);
        int scale = nibble_at(g + 4, p) | (int)(load16<2>(g + 2) >> 2 * p & 3) << 4;
        one_scale(o, load_half<8>(g) * (float)(scale - 32));
    }
};

KERNELS(iq4_xs)
