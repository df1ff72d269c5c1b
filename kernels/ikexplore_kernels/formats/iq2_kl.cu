// iq2_kl: the layout is described in iq2_kl.py.
#include "iqk.cuh"
#include "tables/pair_first.cuh"
#include "tables/pair_second.cuh"
#include "sizes/iq2_kl.cuh"

struct iq2_kl : Quant, Sizes_iq2_kl {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq2_kl>(w, b);
        int p = b & 7;
        u32 low[4], high[4];
        load_words<2, 4>(g + 6 + (p >> 1) * 16, low);
        load_words<2, 4>(g + 70, high);
        for (int j = 0; j < 4; j++) {
            u32 code = (low[j] >> (p & 1) * 4 & 0x0f0f0f0fu) | (high[j] >> p & 0x01010101u) << 4;
            u32 first = look_up<Table_pair_first>(code), second = look_up<Table_pair_second>(code);
            o.q[2 * j] = __byte_perm(first, second, 0x5140);
            o.q[2 * j + 1] = __byte_perm(first, second, 0x7362);
        }
        int scale = (g[2 + (p & 3)] >> (p >> 2) * 4 & 15) + 16 * (int)(load16<2>(g) >> 2 * p & 3) - 32;
        one_scale(o, load_half<2>(w) * (float)scale);
    }
};

KERNELS(iq2_kl)
