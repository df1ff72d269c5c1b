// The 6-bit scales and minimums of q4_k and q5_k (see _six_bits.py).
#include "formats.cuh"

// From the 16 bytes at the head of a block: halves d and dmin, and part p's scale and minimum.
DEVICE void six_bits(Part& o, const u8* g, int p) {
    u32 t[4];
    load_words<16, 4>(g, t);
    int at = (p & 3) * 8;
    u32 scale, least;
    if (p < 4) {
        scale = t[1] >> at & 63, least = t[2] >> at & 63;
    } else {
        scale = (t[3] >> at & 15) | (t[1] >> (at + 6) & 3) << 4;
        least = (t[3] >> (at + 4) & 15) | (t[2] >> (at + 6) & 3) << 4;
    }
    one_scale(o, half_to_float((u16)t[0]) * (float)scale);
    o.m0 = o.m1 = half_to_float((u16)(t[0] >> 16)) * (float)least;
}

// The same of row r of 4, repacked.
DEVICE void six_bits_rows4(Part& o, const u8* g, int r, int p) {
    u32 high = (u32)g[16 + (p & 3) * 4 + r] >> (p & 4), low = g[32 + p * 4 + r];
    one_scale(o, load_half<2>(g + 2 * r) * (float)((low & 15) | (high & 3) << 4));
    o.m0 = o.m1 = load_half<2>(g + 8 + 2 * r) * (float)(low >> 4 | (high >> 2 & 3) << 4);
}
