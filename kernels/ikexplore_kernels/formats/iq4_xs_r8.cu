// iq4_xs_r8: the layout is described in iq4_xs_r8.py.
#include "formats.cuh"
#include "tables/iq4.cuh"
#include "sizes/iq4_xs_r8.cuh"

struct iq4_xs_r8 : Quant, Sizes_iq4_xs_r8 {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq4_xs_r8>(w, b);
        int p = b & 7;
        for (int j = 0; j < 4; j++) {
            look_up_nibbles<Table_iq4>(load32<16>(g + 64 + p * 128 + j * 32 + r * 4), o.q[2 * j], o.q[2 * j + 1]);
        }
        int scale = (g[32 + (p & 3) * 8 + r] >> (p >> 2) * 4 & 15) | (g[16 + (p & 1) * 8 + r] >> (p >> 1) * 2 & 3) << 4;
        one_scale(o, load_half<2>(g + 2 * r) * (float)(scale - 32));
    }
};

KERNELS(iq4_xs_r8)
