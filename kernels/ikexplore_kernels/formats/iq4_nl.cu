// iq4_nl: the layout is described in iq4_nl.py.
#include "formats.cuh"
#include "tables/iq4.cuh"
#include "sizes/iq4_nl.cuh"

struct iq4_nl : Quant, Sizes_iq4_nl {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq4_nl>(w, b);
        u32 t[4];
        load_words<2, 4>(g + 2, t);
        table_nibbles<Table_iq4>(o.q, t);
        one_scale(o, load_half<2>(g));
    }
};

KERNELS(iq4_nl)
