// iq4_nl_r4: the layout is described in iq4_nl_r4.py.
#include "formats.cuh"
#include "tables/iq4.cuh"
#include "sizes/iq4_nl_r4.cuh"

struct iq4_nl_r4 : Quant, Sizes_iq4_nl_r4 {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq4_nl_r4>(w, b);
        table_rows4<Table_iq4>(o.q, g + 8, r);
        one_scale(o, load_half<2>(g + 2 * r));
    }
};

KERNELS(iq4_nl_r4)
