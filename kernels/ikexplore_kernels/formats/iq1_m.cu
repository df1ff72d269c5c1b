// iq1_m: the layout is described in iq1_m.py.
#include "grids.cuh"
#include "tables/grid_iq1.cuh"
#include "sizes/iq1_m.cuh"

struct iq1_m : Quant, Sizes_iq1_m {
    static constexpr bool halves = true;
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq1_m>(w, b);
        int p = b & 7;
        u32 low = load32<8>(g + 4 * p), high = load16<2>(g + 32 + 2 * p), t[2];
        for (int i = 0; i < 4; i++) {
            u32 four = high >> 4 * i;
            point_iq1(o.q + 2 * i, __ldg(grid_iq1 + ((low >> 8 * i & 255) | (four & 7) << 8)), four >> 3 & 1);
        }
        load_words<8, 2>(g + 48, t);
        u32 bits = (t[0] >> 12 & 15) | (t[0] >> 28) << 4 | (t[1] >> 12 & 15) << 8 | (t[1] >> 28) << 12;
        u32 scales = load16<2>(g + 48 + (p >> 1) * 2) >> (p & 1) * 6;
        float d = half_to_float((u16)bits);
        o.s0 = odd(d, scales & 7) * 0.125f, o.s1 = odd(d, scales >> 3 & 7) * 0.125f;
    }
};

KERNELS(iq1_m)
