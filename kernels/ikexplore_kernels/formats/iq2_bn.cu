// iq2_bn: the layout is described in iq2_bn.py.
#include "formats.cuh"
#include "sizes/iq2_bn.cuh"

struct iq2_bn : Quant, Sizes_iq2_bn {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq2_bn>(w, b);
        u32 t[4];
        load_words<4, 4>(g, t);
        for (int j = 0; j < 8; j++) o.q[j] = minus(t[j & 3] >> ((b & 1) * 4 + (j >> 2) * 2) & 0x03030303u, 1);
        one_scale(o, load_float<4>(w));
    }
};

KERNELS(iq2_bn)
