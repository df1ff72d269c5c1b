// mxfp4_r8: the layout is described in mxfp4_r8.py.
#include "formats.cuh"
#include "e8m0.cuh"
#include "tables/mxfp4.cuh"
#include "sizes/mxfp4_r8.cuh"

struct mxfp4_r8 : Quant, Sizes_mxfp4_r8 {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<mxfp4_r8>(w, b);
        for (int j = 0; j < 4; j++) {
            look_up_nibbles<Table_mxfp4>(load32<8>(g + 8 + j * 32 + r * 4), o.q[j], o.q[j + 4]);
        }
        one_scale(o, power_of_two(g[r]));
    }
};

KERNELS(mxfp4_r8)
