// iq2_bn_r4: the layout is described in iq2_bn_r4.py.
#include "iqk.cuh"
#include "sizes/iq2_bn_r4.cuh"

struct iq2_bn_r4 : Quant, Sizes_iq2_bn_r4 {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq2_bn_r4>(w, b);
        rows4_twos(o.q, g, r, b & 1);
        all_minus(o.q, 1);
        one_scale(o, load_float<4>(w + 4 * r));
    }
};

KERNELS(iq2_bn_r4)
