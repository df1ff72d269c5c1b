// iq6_k: the layout is described in iq6_k.py. Its values are no integers; products take the nearest ones.
#include "iqk.cuh"
#include "tables/iq6.cuh"
#include "sizes/iq6_k.cuh"

struct iq6_k : Quant, Sizes_iq6_k {
    static constexpr bool halves = true;
    static constexpr bool floats = true;
    DEVICE static void codes(Part& o, const u8* g, int p) {
        pair_nibbles<4>(o.q, g + 20, p);
        u32 t[8];
        two_bits<4>(t, g + 148, p);
        for (int j = 0; j < 8; j++) o.q[j] |= t[j] << 4;
        two_scales(o, load_half<4>(g), (i8)g[4 + 2 * p], (i8)g[5 + 2 * p]);
    }
    DEVICE static void unpack(Part& o, const u8* w, int r, int b, bool product) {
        const u8* g = block_of<iq6_k>(w, b);
        codes(o, g, b & 7);
        table_bytes<Biased_iq6>(o.q);
        u32 tables = load16<2>(g + 2) >> 2 * (b & 7);
        shift_values(o.q, (tables & 1) * SHIFT6, (tables >> 1 & 1) * SHIFT6);
    }
    DEVICE static void weights(float* v, const u8* w, int r, int b) {
        const u8* g = block_of<iq6_k>(w, b);
        Part o;
        codes(o, g, b & 7);
        u32 tables = load16<2>(g + 2) >> 2 * (b & 7);
        for (int c = 0; c < 32; c++) {
            float x = (float)(o.q[c >> 2] >> (c & 3) * 8 & 255);
            x = fma_rn(x, fma_rn(x, fma_rn(x, CUBIC3, CUBIC2), CUBIC1), CUBIC0);
            v[c] = (c < 16 ? o.s0 : o.s1) * (x + (float)((tables >> (c >> 4) & 1) * SHIFT6));
        }
    }
};

KERNELS(iq6_k)
