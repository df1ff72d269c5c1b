// mxfp4: the layout is described in mxfp4.py.
#include "formats.cuh"
#include "e8m0.cuh"
#include "tables/mxfp4.cuh"
#include "sizes/mxfp4.cuh"

struct mxfp4 : Quant, Sizes_mxfp4 {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<mxfp4>(w, b);
        u32 t[4];
        load_words<1, 4>(g + 1, t);
        table_nibbles<Table_mxfp4>(o.q, t);
        one_scale(o, power_of_two(g[0]));
    }
};

KERNELS(mxfp4)
