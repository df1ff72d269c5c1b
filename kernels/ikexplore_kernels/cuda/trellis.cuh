// The trellis types: a state gives a sequence of values, each the sum of four 6-bit numbers (see _trellis.py).
#include "formats.cuh"

// Four values of a sequence, which goes on in x; each is -126..126.
DEVICE u32 four_values(u32& x, bool magnitudes) {
    u32 out = 0;
    for (int i = 0; i < 4; i++) {
        x *= 0xCBAC1FEDu;
        int v = dot4((int)(x & 0x3f3f3f3fu), 0x01010101, -126);
        if (magnitudes) v = v < 0 ? -v : v;
        out |= (u32)(v & 255) << 8 * i;
    }
    return out;
}

// Nibble i where the low ones of n bytes come first.
DEVICE u32 nibble_in(const u8* p, int i, int n) { return i < n ? p[i] & 15 : p[i - n] >> 4; }
