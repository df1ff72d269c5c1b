// The i-quants: points of a grid, with signs.
#include "formats.cuh"

// A minus sign where the bit is set, for bytes 1..127.
DEVICE u32 with_signs(u32 v, u32 ones) { return (v ^ mask_of(ones)) + ones; }

DEVICE void point8(u32* q, u64 point, u32 signs) {
    q[0] = with_signs((u32)point, spread(signs));
    q[1] = with_signs((u32)(point >> 32), spread(signs >> 4));
}

// Seven signs: the eighth makes their number even.
DEVICE u32 even_signs(u32 seven) { return seven | (u32)(__popc(seven) & 1) << 7; }

// Seven bits of interleaved types: minus where a bit differs from the one before, with zeros beyond.
DEVICE u32 changed_signs(u32 seven) { return (seven ^ seven << 1) & 255; }

DEVICE float odd(float d, int scale) { return d * (float)(2 * scale + 1); }

// The scale that the lowest bits of four bytes make.
DEVICE int low_bits(u32 four) { return (int)((four & 1) | (four >> 7 & 2) | (four >> 14 & 4) | (four >> 21 & 8)); }

// iq1: bytes 8 value + 9, values -1, 0 and 1; the weights are value +- 1/8, in units of 1/8 here.
DEVICE void point_iq1(u32* q, u64 point, bool down) {
    u32 take = down ? 10 : 8;
    q[0] = minus((u32)point, take);
    q[1] = minus((u32)(point >> 32), take);
}
