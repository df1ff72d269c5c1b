// The IQ*_K family: values from tables, of which each 16 or 32 columns take one or its shifted twin.
#include "formats.cuh"
#include "tables/shifts.cuh"

// Fields of the plain types, for part p of 256 columns.
template <int A> DEVICE void two_bits(u32* q, const u8* p0, int p) { bits_of<A>(q, p0 + (p >> 2) * 32, (p & 3) * 2, 3); }
template <int A> DEVICE void pair_nibbles(u32* q, const u8* p0, int p) { bits_of<A>(q, p0 + (p >> 1) * 32, (p & 1) * 4, 15); }

// Two scales from d: those of columns 0..15 and 16..31.
DEVICE void two_scales(Part& o, float d, int first, int second) { o.s0 = d * (float)first, o.s1 = d * (float)second; }

// iq4_k and iq5_k: 6-bit scales, u32 of high bits at 4, nibbles at 8.
DEVICE int iqk_scale(const u8* g, int k) {
    return (nibble_at(g + 8, k) | (int)(load32<4>(g + 4) >> 2 * k & 3) << 4) - 32;
}

// ---- interleaved: four rows, 16 columns k of 256

DEVICE int rows4_nibble(const u8* p0, int r, int k) { return p0[(k & 7) * 4 + r] >> (k >> 3) * 4 & 15; }
DEVICE int rows4_scale(const u8* g, int r, int k) {
    return (rows4_nibble(g + 32, r, k) | (g[16 + (k & 3) * 4 + r] >> (k >> 2) * 2 & 3) << 4) - 32;
}
// which table: bit p of a byte for each half
DEVICE void rows4_tables(const u8* g, int r, int p, u32& first, u32& second) {
    first = g[8 + r] >> p & 1, second = g[12 + r] >> p & 1;
}
DEVICE void rows4_twos(u32* q, const u8* p0, int r, int p) {
    for (int h = 0; h < 2; h++) {
        u32 t = load32<4>(p0 + (2 * p + h) * 16 + r * 4);
        for (int j = 0; j < 4; j++) q[4 * h + j] = t >> 2 * j & 0x03030303u;
    }
}
// the fifth bits of iq5_k_r4 and iq5_ks_r4
DEVICE void rows4_fifths(u32* q, const u8* p0, int r, int p) {
    u32 t = load32<4>(p0 + p * 16 + r * 4);
    for (int j = 0; j < 8; j++) q[j] |= (t >> ((j >> 1) + (j & 1) * 4) & 0x01010101u) << 4;
}
