// iq1_kt: the layout is described in iq1_kt.py.
#include "trellis.cuh"
#include "tables/iq4.cuh"
#include "sizes/iq1_kt.cuh"

struct iq1_kt : Quant, Sizes_iq1_kt {
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq1_kt>(w, b);
        int p = b & 7;
        u32 head = g[p], low = load32<4>(g + 8 + 4 * p);
        for (int i = 0; i < 4; i++) {
            u32 x = (low >> 8 * i & 255) + (nibble_in(g + 40, 4 * p + i, 16) << 8) + (head >> (4 + i) & 1) * 4096 + 4096;
            o.q[2 * i] = four_values(x, false);
            o.q[2 * i + 1] = four_values(x, false);
        }
        one_scale(o, load_float<4>(w) * (float)table_at<Table_iq4>(head & 15));
    }
};

KERNELS(iq1_kt)
