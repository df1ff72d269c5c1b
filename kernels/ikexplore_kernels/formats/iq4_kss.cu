// iq4_kss: the layout is described in iq4_kss.py.
#include "iqk.cuh"
#include "tables/iq4.cuh"
#include "sizes/iq4_kss.cuh"

struct iq4_kss : Quant, Sizes_iq4_kss {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq4_kss>(w, b);
        int p = b & 7;
        u32 t[4], s = 0;
        load_words<4, 4>(g + p * 16, t);
        for (int j = 0; j < 4; j++) {
            s |= (t[j] & 1) << 2 * j | (t[j] >> 16 & 1) << (2 * j + 1);
            t[j] &= 0xfffefffeu;
            t[j] ^= t[j] >> 1 & 0x7fff7fffu;
        }
        table_nibbles<Biased_iq4>(o.q, t);
        shift_values(o.q, (s & 1) * SHIFT4, (s & 1) * SHIFT4);
        one_scale(o, load_float<4>(w) * (float)((int)(s & 254) - 127));
    }
};

KERNELS(iq4_kss)
